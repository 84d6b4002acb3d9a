"""A label map as RTSTRUCT: closed planar contours on the slices of the series it was made of.

Written with pydicom: of the libraries for it, rt-utils (1.2.7, 2023) wants OpenCV and one folder with one series and all its pixels in
memory, draws through the centres of pixels, so that structures shrink by half a pixel, and cuts holes open by two pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from bundle.dicom.contours import polygons
from bundle.dicom.elements import time_zone
from bundle.dicom.maker import MANUFACTURER, MODEL, Maker, making, tracking_uid
from bundle.dicom.source import Source, geometry
from bundle.dicom.stack import Plane
from bundle.structures import Code, Structure

if TYPE_CHECKING:
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
SERIES_NUMBER = 9002
CONTOUR_DATA = 0x30060050


def write_structure_set(
    path: str | os.PathLike, source: Source, labels: np.ndarray, structures: Sequence[tuple[int, Structure]], maker: Maker
) -> None:
    """Write a label map as RTSTRUCT. A structure that was not found is a region of interest without contours.

    Args:
        path: the file.
        source: the series.
        labels: (X, Y, Z) uint8, on the grid that `bundle.dicom.read_series` gives the series.
        structures: each value of the label map but 0, with what it is.
        maker: which program made it, with which weights.

    Raises:
        UserError: it cannot be done for this series.
    """
    with making(source, "RTSTRUCT", "rtstruct"):
        made = _structure_set(source, maker)
        _put_regions(made, source, labels, sorted(structures, key=lambda pair: pair[0]))
        made.save_as(path, enforce_file_format=True)


def _structure_set(source: Source, maker: Maker) -> Dataset:
    """The object without regions: whose it is, who made it, which series it refers to."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, ImplicitVRLittleEndian, generate_uid

    # in the zone that the source's times are in, as its TimezoneOffsetFromUTC is that of all times in here
    now = datetime.now(time_zone(str(source.shared.get("TimezoneOffsetFromUTC", ""))))
    meta, uid = FileMetaDataset(), generate_uid(prefix=None)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(RTSTRUCT), uid
    # where an element's type is explicit, the points of one contour may have 64 KB: longer ones become unknown bytes to most readers
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ImplicitVRLittleEndian, PYDICOM_IMPLEMENTATION_UID
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.update(source.shared)
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = RTSTRUCT, uid, generate_uid(prefix=None)
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", SERIES_NUMBER, 1
    made.SeriesDescription, made.OperatorsName = "Contours (automatic)", ""
    made.FrameOfReferenceUID = str(source.first.FrameOfReferenceUID)
    made.PositionReferenceIndicator = source.first.get("PositionReferenceIndicator", "")
    made.Manufacturer, made.ManufacturerModelName, made.SoftwareVersions = MANUFACTURER, MODEL, maker.version
    made.InstanceCreationDate = made.SeriesDate = made.StructureSetDate = now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.SeriesTime = made.StructureSetTime = now.strftime("%H%M%S")
    made.StructureSetLabel, made.StructureSetName = "AUTOMATIC", "Automatic, not checked by a person"
    made.ApprovalStatus = "UNAPPROVED"
    made.ReferencedFrameOfReferenceSequence = [_reference(source)]
    return made


def _reference(source: Source) -> Dataset:
    """The frame of reference, with the study, the series and all its images."""
    from pydicom.dataset import Dataset

    frame, study, series = Dataset(), Dataset(), Dataset()
    frame.FrameOfReferenceUID = str(source.first.FrameOfReferenceUID)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = STUDY_COMPONENT, source.shared.StudyInstanceUID
    series.SeriesInstanceUID = source.first.SeriesInstanceUID
    series.ContourImageSequence = [_image(source, plane) for plane in source.planes]
    study.RTReferencedSeriesSequence = [series]
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(source: Source, plane: Plane) -> Dataset:
    from pydicom.dataset import Dataset

    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.instances[plane.header.file]
    if len(plane.header.frames) > 1:
        image.ReferencedFrameNumber = plane.index + 1
    return image


def _put_regions(made: Dataset, source: Source, labels: np.ndarray, structures: Sequence[tuple[int, Structure]]) -> None:
    from pydicom.dataset import Dataset

    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    for number, (value, structure) in enumerate(structures, 1):
        region, contours, observed = Dataset(), Dataset(), Dataset()
        region.ROINumber, region.ReferencedFrameOfReferenceUID = number, str(source.first.FrameOfReferenceUID)
        region.ROIName, region.ROIGenerationAlgorithm = structure.name[:64], "AUTOMATIC"
        contours.ROIDisplayColor, contours.ReferencedROINumber = list(structure.colour), number
        found = _contours(source, labels, value)
        if found:
            contours.ContourSequence = found
        observed.ObservationNumber, observed.ReferencedROINumber = number, number
        observed.RTROIIdentificationCodeSequence = [_code(structure.type, structure.side)]
        observed.RTROIInterpretedType, observed.ROIInterpreter = "", ""
        observed.TrackingID, observed.TrackingUID = structure.name[:64], tracking_uid(source, structure)
        made.StructureSetROISequence.append(region)
        made.ROIContourSequence.append(contours)
        made.RTROIObservationsSequence.append(observed)


def _contours(source: Source, labels: np.ndarray, value: int) -> list[Dataset]:
    """The contours of a value on all slices, in LPS mm."""
    from pydicom.charset import default_encoding
    from pydicom.dataset import Dataset

    (along_row, along_column), (between_rows, between_columns) = geometry(source)
    found = []
    for number, plane in enumerate(source.planes):
        for corners in polygons(labels[:, :, number].T == value):
            places = np.asarray(plane.position) + corners[:, :1] * between_columns * along_row
            places = places + corners[:, 1:] * between_rows * along_column
            contour = Dataset()
            contour.ContourImageSequence = [_image(source, plane)]
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(places)
            contour[CONTOUR_DATA] = _decimals(places)
            contour.set_original_encoding(False, True, default_encoding)  # so that it is written as it is
            found.append(contour)
    return found


def _decimals(places: np.ndarray) -> RawDataElement:
    """Coordinates as they are in the file, to a thousandth of a mm: as numbers of pydicom they would take thirty times the memory."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    text = "\\".join([f"{coordinate:.3f}" for coordinate in places.ravel().tolist()]).encode()
    text += b" " * (len(text) % 2)
    return RawDataElement(Tag(CONTOUR_DATA), "DS", len(text), text, 0, False, True)


def _code(code: Code, side: Code | None) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    if side:
        item.SegmentedPropertyTypeModifierCodeSequence = [_code(side, None)]
    return item
