"""Names of the files that inference writes: the one place that spells them."""

from __future__ import annotations

RECORD = "run.json"
TABLE = "cases.csv"
PAGE = "index.html"
# hidden folder with one file a case: what run.json and cases.csv are made from
RECORDS = ".records"

LABEL_MAP_ENDING = "_seg.nii.gz"
PREVIEW_ENDING = "_preview.png"
ATTENTION_ENDING = "_attention.png"
PROBABILITIES_ENDING = "_probabilities.nii.gz"

NAME_MAX = 255  # bytes of a file name on the usual file systems


def label_map(case: str) -> str:
    """The label map of a case, on the source's grid."""
    return case + LABEL_MAP_ENDING


def preview(case: str) -> str:
    """The picture of a case."""
    return case + PREVIEW_ENDING


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
