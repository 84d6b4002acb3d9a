"""The series that a DICOM object is made for: its slices in the order of the label map, and whose it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bundle.dicom.elements import Elements, opened
from bundle.dicom.series import one_stack
from bundle.dicom.stack import Plane, Stack, directions
from bundle.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

logger = logging.getLogger("bundle.inference")

# what an object shares with the series that it is made of: the modules Patient, General Study, Patient Study, Clinical Trial
# Subject and Clinical Trial Study of PS3.3; the second list has to be there, with or without a value
SHARED = """
SpecificCharacterSet TimezoneOffsetFromUTC IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence OtherPatientIDsSequence
PatientBirthTime EthnicGroup PatientComments PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
QualityControlSubject PatientSpeciesDescription StudyDescription IssuerOfAccessionNumberSequence ConsultingPhysicianName PhysiciansOfRecord
NameOfPhysiciansReadingStudy ReasonForPerformedProcedureCodeSequence ProcedureCodeSequence PatientAge PatientSize PatientWeight
AdmittingDiagnosesDescription ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID
ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID ClinicalTrialTimePointDescription
LongitudinalTemporalInformationModified
""".split()
NEEDED = (
    "PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName"
).split()
# all that DICOM has; an empty value says that it is not known
SEXES = ("M", "F", "O")
OF_SERIES = ("SeriesInstanceUID", "Modality", "FrameOfReferenceUID", "PositionReferenceIndicator", "SliceThickness")


@dataclass(frozen=True)
class Source:
    """A series as what is made of it refers to it.

    Args:
        stack: its planes, in the order of the label map's last axis.
        shared: patient and study, to be copied.
        first: what else is known of the first file: series, frame of reference, slice thickness.
        instances: SOP class and SOP instance of each file.
    """

    stack: Stack
    shared: Dataset
    first: Dataset
    instances: dict[str, tuple[str, str]]

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes of the label map."""
        return self.stack.planes

    @property
    def between_planes(self) -> float:
        """Distance of neighbouring planes in mm, at a right angle to them."""
        normal = directions(self.planes)[2]
        along = [float(normal @ plane.position) for plane in (self.planes[0], self.planes[-1])]
        return (along[1] - along[0]) / (len(self.planes) - 1)

    @property
    def where(self) -> str:
        """The folder of the series, or its only file."""
        files = list(self.instances)
        return files[0] if len(files) == 1 else os.path.dirname(files[0])


def read_source(files: Sequence[str | os.PathLike], shape: Sequence[int], words: str = "") -> Source:
    """The series that these files are, whose label map has this shape.

    Args:
        files: as `bundle.dicom.read_series` takes them.
        shape: of the label map (X, Y, Z).
        words: text that an object will have besides the source's own, such as names of structures: where the source's character set does
            not have its letters, `shared` is in UTF-8.

    Raises:
        UserError: they are not one volume of this shape, or a slice has no UID by which an object can refer to it.
    """
    stack = one_stack(files)
    used = list(dict.fromkeys(plane.header.file for plane in stack.planes))
    if stack.shape != tuple(shape):
        raise UserError(used[0], f"the series is {_size(stack.shape)}, the label map {_size(shape)}", "run inference again")
    shared, first = _of_patient(used[0])
    instances = {file: _instance(file) for file in used}
    _complete(shared, first, instances[used[0]][1])
    if not _has_letters(shared.get("SpecificCharacterSet"), words):
        shared.decode()
        shared.SpecificCharacterSet = "ISO_IR 192"
    return Source(stack, shared, first, instances)


def _known_to_dicom(element: DataElement) -> bool:
    """Whether a sex is one that DICOM has, a date a date, and a time a time; whatever else it is, a value is taken as it is."""
    from pydicom.valuerep import DA, TM

    text = str(element.value or "")
    if element.VR == "CS":
        return text in ("", *SEXES)
    if text and element.VR in ("DA", "TM"):
        try:
            (DA if element.VR == "DA" else TM)(text)
        except ValueError:
            return False
    return True


def _has_letters(character_set: str | Sequence[str] | None, text: str) -> bool:
    """Whether one of DICOM's character sets, ASCII where none is named, has all letters of a text."""
    from pydicom.charset import convert_encodings

    if text.isascii():
        return True
    stated = [character_set] if isinstance(character_set, str) else list(character_set or ())
    for encoding in convert_encodings(stated) if any(stated) else ():
        try:
            text.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            continue
        return True
    return False


def _complete(shared: Dataset, first: Dataset, instance: str) -> None:
    """Give a series whose UIDs were taken out of its headers new ones, the same ones each time: an object has to have them."""
    from pydicom.uid import generate_uid

    made = []
    for name, dataset in (("StudyInstanceUID", shared), ("SeriesInstanceUID", first), ("FrameOfReferenceUID", first)):
        if not dataset.get(name):
            setattr(dataset, name, generate_uid(entropy_srcs=[name, instance]))
            made.append(name)
    if made:
        logger.warning("%s: missing in the source, so that what is made of it has new ones", ", ".join(made))


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(int(length)) for length in shape)


def _instance(file: str) -> tuple[str, str]:
    from pydicom.filereader import read_partial

    with opened(file) as (stream, _):
        dataset = read_partial(stream, stop_when=_after_instance, force=True, specific_tags=[0x00080016, 0x00080018])
    header = Elements(dataset)
    # some tools that take names out of headers take the UIDs out as well, but for those of the file meta information
    names = "SOPClassUID", "SOPInstanceUID"
    sop_class, instance = (header.text(name) or str(dataset.file_meta.get("MediaStorage" + name, "")) for name in names)
    found = sop_class, instance
    if not all(found):
        raise UserError(file, "it has no SOPInstanceUID, so that no object can refer to it", "export the series again")
    return found


def _after_instance(tag: int, vr: str | None, length: int) -> bool:
    return tag > 0x00080018


def _of_patient(file: str) -> tuple[Dataset, Dataset]:
    """What of a file's header says whose it is, as it is there, and what says of which series."""
    import pydicom
    from pydicom.dataset import Dataset

    with opened(file) as (stream, _):
        found = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    shared, first = Dataset(), Dataset()
    for names, kept in (((*SHARED, *NEEDED), shared), (OF_SERIES, first)):
        for name in names:
            try:
                if name in found:
                    kept[name] = found[name]
            except Exception:  # a value that pydicom cannot make sense of says nothing to anybody
                continue
    if not shared.get("SpecificCharacterSet"):  # it must not be there without a value
        shared.pop("SpecificCharacterSet", None)
    for name in NEEDED:
        if name not in shared or not _known_to_dicom(shared[name]):
            setattr(shared, name, "")
    return shared, first


def geometry(source: Source) -> tuple[np.ndarray, tuple[float, float]]:
    """Directions (2, 3) along a row and along a column, LPS, and the distances between rows and between columns in mm."""
    between_rows, between_columns = np.median([plane.spacing for plane in source.planes], axis=0)
    return directions(source.planes)[:2], (float(between_rows), float(between_columns))
