"""Names of output files: one spelling, and room for every name that a case may have."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.data.scans.case_names import LONGEST
from bundle.files import aside_path
from bundle.results import outputs


def test_the_names_that_others_rely_on() -> None:
    names = [name("a") for name in (outputs.label_map, outputs.preview, outputs.slices, outputs.attention_picture, outputs.probabilities)]
    assert names == ["a_seg.nii.gz", "a_preview.png", "a_slices.jpg", "a_attention.png", "a_probabilities.nii.gz"]
    assert outputs.attention_level("a", 5) == "a_attention_level5.nii.gz"
    assert (outputs.RECORD, outputs.TABLE, outputs.PAGE) == ("run.json", "cases.csv", "index.html")


def test_every_file_of_the_longest_case_fits_while_it_is_written_too() -> None:
    assert LONGEST <= outputs.LONGEST_CASE, "names that are found have room"
    case = "例" * (outputs.LONGEST_CASE // 3)
    files = [outputs.label_map(case), outputs.probabilities(case), outputs.attention_level(case, 12), f"{case}.json", f"{case}.claim"]
    for name in [outputs.attention_level("n" * outputs.LONGEST_CASE, 99), *files]:
        assert len(os.fsencode(name)) <= 255 and len(os.fsencode(aside_path(Path(name)).name)) <= 255
