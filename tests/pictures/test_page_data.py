"""What the page knows: order, kinds, files, colours, and what makes a result another one."""

from __future__ import annotations

import json

import pytest
from case_results import UGLY, results

from bundle.pictures.page_data import MEASURED, origin, page_data
from bundle.quality.cases import CaseResult, case_rows, write_rows
from bundle.results import outputs


def test_failed_then_flagged_then_good(tmp_path, abdomen):
    data = page_data(results(tmp_path, abdomen))
    failed, empty, good = data["cases"]
    assert (failed["name"], failed["verdict"], failed["error"]) == (UGLY, 0, "c.nii.gz: is empty (0 bytes). Fix: copy it again")
    assert (empty["name"], empty["verdict"], good["name"], good["verdict"]) == ("empty", 1, "good", 2)
    assert empty["reasons"][:3] == ["pancreas: not found", "spleen: not found", "kidney: not found"]
    assert [[data["kinds"][kind] for kind in case["kinds"]] for case in (failed, empty, good)] == [
        ["failed"],
        ["not found"] * 3 + ["the scan itself"],
        [],
    ]
    assert [structure["name"] for structure in data["structures"]] == ["pancreas", "spleen", "kidney"]
    spleen = dict(zip(MEASURED, good["measured"][1], strict=True))
    assert (spleen["volume_ml"], spleen["mean_hu"], spleen["expected_dice"], spleen["flip_disagreement"]) == (35, 110, 0.8, None)
    assert failed["measured"] == [None, None, None]


def test_pictures_and_files_are_named_where_they_are(tmp_path, abdomen):
    data = page_data(results(tmp_path, abdomen))
    failed, empty, good = data["cases"]
    assert [(case["preview"], case["slices"]) for case in (failed, empty, good)] == [(False, False), (True, False), (False, True)]
    assert [data["endings"]["links"][place][0] for place in empty["files"]] == ["label map", "three planes"]
    assert data["endings"]["preview"] == outputs.PREVIEW_ENDING and data["endings"]["slices"] == outputs.SLICES_ENDING


def test_a_note_is_known_to_be_about_another_result(tmp_path, abdomen):
    """The identity changes with figures and weights, not with the seconds it took or a source that moved."""
    good = CaseResult("good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures)
    rows = [{**row, "seconds": 1.0} for row in case_rows(good)]

    def identity(**changes) -> str:
        write_rows(tmp_path, [{**row, **changes} for row in rows])
        return page_data(tmp_path)["cases"][0]["id"]

    before = identity()
    assert identity(seconds=2.0, source="/moved/a.nii.gz") == before
    assert identity(volume_ml=1.0) != before
    entry = {"case": "good", "status": "ok", "settings": {"weights": "0" * 64}}
    (tmp_path / "run.json").write_text(json.dumps({"cases": [entry]}))
    assert identity() != before


@pytest.mark.parametrize("broken", ["[1, 2", "[]", '{"cases": 3}', '{"cases": [null, {"case": "good", "status": "ok", "settings": 3}]}'])
def test_a_record_that_cannot_be_read_costs_no_case(tmp_path, abdomen, broken):
    results(tmp_path, abdomen)
    (tmp_path / "run.json").write_text(broken)
    assert len(page_data(tmp_path)["cases"]) == 3


def test_colours_are_those_of_the_run(tmp_path, abdomen):
    results(tmp_path, abdomen)
    assert page_data(tmp_path)["structures"][1] == {"name": "spleen", "colour": "#58c4ff"}
    (tmp_path / "labels.txt").write_text('# names\n0 0 0 0 0 0 0 "Clear Label"\n2 255 0 16 1 1 1 "spleen"\n')
    assert page_data(tmp_path)["structures"][1] == {"name": "spleen", "colour": "#ff0010"}


def test_without_a_record_the_table_speaks_for_itself(tmp_path, abdomen):
    folder = results(tmp_path, abdomen)
    assert origin(folder, page_data(folder)) == "cases.csv holds the figures."
