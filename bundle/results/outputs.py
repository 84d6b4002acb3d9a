"""Names of the files that inference writes: the one place that spells them."""

from __future__ import annotations

RECORD = "run.json"
TABLE = "cases.csv"
# by a classifier
CLASS_TABLE = "classes.csv"
# by the verb `table`
WIDE_TABLE, LONG_TABLE = "cases_wide.csv", "cases_long.csv"
PAGE = "index.html"
# hidden folder with one file a case: what run.json and cases.csv are made from
RECORDS = ".records"

# names and colours of the structures: for ITK-SNAP, and for 3D Slicer
LABEL_NAMES = "labels.txt"
COLOUR_TABLE = "labels.ctbl"

LABEL_MAP_ENDING = "_seg.nii.gz"
# by the key `format`
LABEL_MAP_ENDINGS = {"nii.gz": LABEL_MAP_ENDING, "seg.nrrd": ".seg.nrrd"}
DICOM_SEG_ENDING = "_seg.dcm"
RTSTRUCT_ENDING = "_rtstruct.dcm"
PREVIEW_ENDING = "_preview.png"
SLICES_ENDING = "_slices.jpg"
ATTENTION_ENDING = "_attention.png"
PROBABILITIES_ENDING = "_probabilities.nii.gz"

NAME_MAX = 255  # bytes of a file name on the usual file systems


def label_map(case: str, format: str = "nii.gz") -> str:
    """The label map of a case, on the source's grid, in a format of `LABEL_MAP_ENDINGS`."""
    return case + LABEL_MAP_ENDINGS[format]


def label_maps(case: str) -> tuple[str, ...]:
    """The names that the label map of a case may have."""
    return tuple(case + ending for ending in LABEL_MAP_ENDINGS.values())


def dicom_seg(case: str) -> str:
    """The label map of a case as DICOM SEG."""
    return case + DICOM_SEG_ENDING


def rtstruct(case: str) -> str:
    """The label map of a case as contours."""
    return case + RTSTRUCT_ENDING


def preview(case: str) -> str:
    """The picture of a case."""
    return case + PREVIEW_ENDING


def slices(case: str) -> str:
    """The strip of slices of a case that the page runs through."""
    return case + SLICES_ENDING


def attention_picture(case: str) -> str:
    """The picture of the gates' coefficients."""
    return case + ATTENTION_ENDING


def attention_level(case: str, level: int) -> str:
    """The gates' coefficients of one level, on the source's grid."""
    return f"{case}_attention_level{level}.nii.gz"


def probabilities(case: str) -> str:
    """The network's probabilities, on the network's grid."""
    return case + PROBABILITIES_ENDING


# bytes that the name of a case may have, so that each of its files has a name that fits
LONGEST_CASE = NAME_MAX - len(attention_level("", 99))
