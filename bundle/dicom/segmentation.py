"""A label map as DICOM SEG, by highdicom: segments with names, codes and colours, on the slices of the series it was made of."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle.dicom.maker import MANUFACTURER, MODEL, Maker, making, tracking_uid
from bundle.dicom.source import Source, geometry
from bundle.dicom.stack import Plane
from bundle.errors import UserError
from bundle.structures import Code, Structure

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

KINDS = ("binary", "labelmap")
SERIES_NUMBER = 9001
CT_SLICE = "1.2.840.10008.5.1.4.1.1.2"
LITTLE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"


def check_available() -> None:
    """Raise `UserError` unless highdicom is installed."""
    if find_spec("highdicom") is None:
        raise UserError("dicom_seg", "needs highdicom, which is not installed", "pip install 'attention-unet-bundle[dicom]'")


def write_segmentation(
    path: str | os.PathLike,
    source: Source,
    labels: np.ndarray,
    structures: Sequence[tuple[int, Structure]],
    maker: Maker,
    kind: str = "binary",
) -> None:
    """Write a label map as DICOM SEG.

    Args:
        path: the file.
        source: the series.
        labels: (X, Y, Z) uint8, on the grid that `bundle.dicom.read_series` gives the series.
        structures: each value of the label map but 0, with what it is.
        maker: which program made it, with which weights.
        kind: "binary": a segment is a stack of masks, as every program reads it, segments numbered from 1; "labelmap": one mask of
            numbers, which are the values of the label map (DICOM 2024d; fewer programs read it).

    Raises:
        UserError: highdicom is not there, or cannot do it for this series.
    """
    check_available()
    import highdicom

    # it reports every element that it copies, with UIDs, which do not belong into a log
    logging.getLogger("highdicom").setLevel(logging.WARNING)
    ordered = sorted(structures, key=lambda pair: pair[0])
    numbers = [value for value, _ in ordered] if kind == "labelmap" else list(range(1, len(ordered) + 1))
    with making(source, "DICOM SEG", "dicom_seg"):
        images, planes, aliases = _images(source, _numbered(labels, [value for value, _ in ordered], numbers))
        made = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=planes,
            segmentation_type=kind.upper(),
            segment_descriptions=[_segment(number, one, source, maker) for number, (_, one) in zip(numbers, ordered, strict=True)],
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=maker.version,
            device_serial_number=maker.weights or "none",
            content_label="SEGMENTATION",
            content_description="Automatic segmentation, not checked by a person",
            series_description="Segmentation (automatic)",
            transfer_syntax_uid=RLE if kind == "labelmap" else LITTLE,
        )
        _refer_to_frames(made, source, aliases)
        made.save_as(path)


def _numbered(labels: np.ndarray, values: Sequence[int], numbers: Sequence[int]) -> np.ndarray:
    """Segment numbers (planes, rows, columns) of a label map (X, Y, Z); no copy where they are the values."""
    planes = labels.T
    if list(values) == list(numbers):
        return planes
    table = np.zeros(256, np.uint8)
    table[list(values)] = numbers
    return table[planes]


def _segment(number: int, structure: Structure, source: Source, maker: Maker) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(name=MODEL, family=codes.DCM.ArtificialIntelligence, version=maker.version)
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.name[:64],
        segmented_property_category=_concept(structure.category),
        segmented_property_type=_concept(structure.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=tracking_uid(source, structure),
        tracking_id=structure.name[:64],
        anatomic_regions=[_concept(structure.region)] if structure.region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
    )
    if structure.side:
        side = [_concept(structure.side)]
        if structure.region:
            segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = side
        else:
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = side
    return segment


def _concept(code: Code) -> Any:
    import highdicom

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def _images(source: Source, planes: np.ndarray) -> tuple[list[Dataset], np.ndarray, dict[str, Plane]]:
    """The images as highdicom wants them, without pixels, the planes in their order, and planes by the UID that stands for them.

    highdicom takes slices, or one file of many frames; of each only what it needs is given, from headers that were read already. Frames
    of several files are given as CT slices, each with a UID of its own in place of its file's and its number in it.
    """
    import highdicom

    shared = _image(source)
    if not source.files_of_many_frames:
        return [_slice(shared, source, plane) for plane in source.planes], planes, {}
    if len(source.instances) > 1:
        aliases = {str(highdicom.UID()): plane for plane in source.planes}
        images = [_slice(shared, source, plane) for plane in source.planes]
        for image, uid in zip(images, aliases, strict=True):
            image.SOPClassUID, image.SOPInstanceUID = CT_SLICE, uid
        return images, planes, aliases
    header = source.planes[0].header
    order = [plane.index for plane in source.planes]
    if order != list(range(len(header.frames))):
        arranged = np.zeros((len(header.frames), *planes.shape[1:]), planes.dtype)
        arranged[order] = planes
        planes = arranged
    return (
        [_with_frames(_of_file(shared, source, header.file), [Plane(header, index).position for index in range(len(header.frames))])],
        planes,
        {},
    )


def _refer_to_frames(made: Dataset, source: Source, aliases: Mapping[str, Plane]) -> None:
    """Put file and frame number in place of the UIDs that stand for planes in a DICOM SEG."""
    if not aliases:
        return
    for group in (*made.SharedFunctionalGroupsSequence, *made.PerFrameFunctionalGroupsSequence):
        for derived in group.get("DerivationImageSequence", []):
            for image in derived.SourceImageSequence:
                plane = aliases.get(image.ReferencedSOPInstanceUID)
                if plane is None:  # segments of one plane share the item
                    continue
                image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.instances[plane.header.file]
                if len(plane.header.frames) > 1:
                    image.ReferencedFrameNumber = plane.index + 1
    for series in made.ReferencedSeriesSequence:
        once = {source.instances[aliases[item.ReferencedSOPInstanceUID].header.file]: item for item in series.ReferencedInstanceSequence}
        for instance, item in once.items():
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance
        series.ReferencedInstanceSequence = list(once.values())


def _image(source: Source) -> Dataset:
    """What all images of the series share: whose they are, how their planes are turned, how large their voxels are."""
    from pydicom.dataset import Dataset
    from pydicom.valuerep import format_number_as_ds

    turned, spacing = geometry(source)
    layout, image = source.planes[0].layout, Dataset()
    image.update(source.shared)
    image.SeriesInstanceUID, image.FrameOfReferenceUID = source.first.SeriesInstanceUID, str(source.first.FrameOfReferenceUID)
    image.PositionReferenceIndicator = source.first.get("PositionReferenceIndicator", "")
    image.Modality = source.first.get("Modality") or "CT"
    image.Rows, image.Columns = layout.rows, layout.columns
    image.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in turned.ravel()]
    image.PixelSpacing = [format_number_as_ds(value) for value in spacing]
    image.SliceThickness = source.first.get("SliceThickness") or format_number_as_ds(source.between_planes)
    return image


def _of_file(shared: Dataset, source: Source, file: str) -> Dataset:
    """The image of a file; elements that all share are not copied."""
    from pydicom.dataset import Dataset

    image = Dataset()
    image.update(shared)
    image.SOPClassUID, image.SOPInstanceUID = source.instances[file]
    return image


def _slice(shared: Dataset, source: Source, plane: Plane) -> Dataset:
    """The image of one slice."""
    image = _of_file(shared, source, plane.header.file)
    image.ImagePositionPatient = _position(plane.position)
    return image


def _with_frames(image: Dataset, positions: Sequence[Sequence[float]]) -> Dataset:
    """An image of many frames at these positions."""
    from pydicom.dataset import Dataset

    shared, measures, turned = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    turned.ImageOrientationPatient = image.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    image.NumberOfFrames, image.SharedFunctionalGroupsSequence = len(positions), [shared]
    frames = []
    for place in positions:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = _position(place)
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = frames
    return image


def _position(place: Sequence[float]) -> list[str]:
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value)) for value in place]
