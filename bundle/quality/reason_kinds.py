"""Which kind of reason the words are that `judge` and `check_scan` give: to choose cases by."""

from __future__ import annotations

import re

SCAN, FAILED = "the scan itself", "failed"
# the words behind the structure's name
KINDS = {
    "not found": r"not found$",
    "volume": r"[\d.]+ ml \(",
    "HU": r"mean -?\d+ HU \(",
    "pieces": r"(\d+|more) pieces, ",
    "at the border": r"reaches the border of the (scan|box)",
    "position": r"its (centre (is|lies)|place is unlike) ",  # lies: tables of version 0.1
    "shape": r"its axes of ",
    "low confidence": r"(the network itself expects a Dice|a Dice of [0-9.]+ is expected|mean confidence )",
    "flips disagree": r"\d+% disagreement when the scan is flipped",
}


def kind_of(reason: str) -> str:
    """One of `KINDS`, or `SCAN`, for a reason as it is in `cases.csv`."""
    return next((kind for kind, words in KINDS.items() if re.search(rf": {words}", reason)), SCAN)
