"""A label map as DICOM SEG, by highdicom: segments with names, codes and colours, on the slices of the series it was made of."""

from __future__ import annotations

import logging
import os
import warnings
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

    # it reports every element that it copies, with UIDs, and warns of names that it finds odd: these do not belong into a log
    logging.getLogger("highdicom").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="highdicom")
    ordered = sorted(structures, key=lambda pair: pair[0])
    numbers = [value for value, _ in ordered] if kind == "labelmap" else list(range(1, len(ordered) + 1))
    with making(source, "DICOM SEG", "dicom_seg"):
        planes, shared = {str(highdicom.UID()): plane for plane in source.planes}, _image(source)
        made = highdicom.seg.Segmentation(
            source_images=[_slice(shared, uid, plane) for uid, plane in planes.items()],
            pixel_array=_numbered(labels, [value for value, _ in ordered], numbers),
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
            specific_character_set=None,
        )
        # highdicom refuses Korea's, one that begins with an empty value as Japan's does, and names that are misspelled
        if "SpecificCharacterSet" in source.shared:
            made.SpecificCharacterSet = source.shared.SpecificCharacterSet
        _refer_to_files(made, source, planes)
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


def _refer_to_files(made: Dataset, source: Source, planes: Mapping[str, Plane]) -> None:
    """Put file and frame number in place of the UIDs that stand for planes in a DICOM SEG (`_slice`)."""
    for group in (*made.SharedFunctionalGroupsSequence, *made.PerFrameFunctionalGroupsSequence):
        for derived in group.get("DerivationImageSequence", []):
            for image in derived.SourceImageSequence:
                plane = planes.get(image.ReferencedSOPInstanceUID)
                if plane is None:  # segments of one plane share the item
                    continue
                image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.instances[plane.header.file]
                if len(plane.header.frames) > 1:
                    image.ReferencedFrameNumber = plane.index + 1
    for series in made.ReferencedSeriesSequence:
        once = {source.instances[planes[item.ReferencedSOPInstanceUID].header.file]: item for item in series.ReferencedInstanceSequence}
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
    image.SliceThickness = _thickness(source)
    return image


def _thickness(source: Source) -> str:
    """Of a slice in mm: as the source has it, or the distance of its planes where that is no length."""
    from pydicom.valuerep import format_number_as_ds

    text = str(source.first.get("SliceThickness", ""))
    try:
        is_length = 0 < float(text) < float("inf")
    except ValueError:
        is_length = False
    return text if is_length else format_number_as_ds(source.between_planes)


def _slice(shared: Dataset, uid: str, plane: Plane) -> Dataset:
    """The image of a plane, whatever file it is in, as a CT slice of its own: highdicom takes slices, or one file of many frames.

    What all share is not copied, nor are pixels.
    """
    from pydicom.dataset import Dataset
    from pydicom.valuerep import format_number_as_ds

    image = Dataset()
    image.update(shared)
    image.SOPClassUID, image.SOPInstanceUID = CT_SLICE, uid
    image.ImagePositionPatient = [format_number_as_ds(float(value)) for value in plane.position]
    return image
