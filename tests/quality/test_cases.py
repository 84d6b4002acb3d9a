"""Rows of cases.csv against values worked out by hand, and the file that survives interrupted runs."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from bundle.quality.cases import COLUMNS, CaseResult, case_rows, read_cases_csv, write_cases_csv

STRUCTURES = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}


def a_case(name: str = "a", **options) -> CaseResult:
    """20x20x30 voxels of 2x2x5 mm: a spleen of 2x3x4 voxels at HU 50 but one voxel of 98, a kidney of two single voxels."""
    labels = np.zeros((20, 20, 30), np.uint8)
    labels[4:6, 5:8, 6:10] = 2
    labels[10, 10, 10] = labels[13, 10, 10] = 3
    image = np.where(labels == 2, 50.0, -100.0).astype(np.float32)
    image[4, 5, 6] = 98.0
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = [10.0, 20.0, 30.0]
    return CaseResult(name, f"/scans/{name}.nii.gz", image, labels, affine, STRUCTURES, **options)


def test_rows_hold_what_a_hand_counts():
    rows = {row["structure"]: row for row in case_rows(a_case(seconds={"load": 1.0, "network": 2.5}, confidence={"spleen": (0.97, 0.61)}))}
    assert list(rows) == ["pancreas", "spleen", "kidney"]
    spleen = rows["spleen"]
    assert spleen["volume_ml"] == pytest.approx(24 * 20 / 1000)
    assert spleen["mean_hu"] == pytest.approx(52.0)
    # 23 voxels are 2 below the mean, one is 46 above: variance (23 * 4 + 46^2) / 24 = 92
    assert spleen["sd_hu"] == pytest.approx(np.sqrt(92.0), abs=0.05)
    assert [spleen[f"centroid_{axis}_mm"] for axis in "xyz"] == [pytest.approx(v) for v in (10 + 2 * 4.5, 20 + 2 * 6, 30 + 5 * 7.5)]
    assert (spleen["touches_border"], spleen["components"]) == ("no", 1)
    assert (spleen["confidence_mean"], spleen["confidence_min"]) == (0.97, 0.61)
    assert rows["kidney"]["components"] == 2
    assert rows["kidney"]["confidence_mean"] == ""
    assert rows["pancreas"]["volume_ml"] == 0 and rows["pancreas"]["mean_hu"] == "" and rows["pancreas"]["components"] == 0
    assert spleen["seconds"] == 3.5 and spleen["spacing_mm"] == "2x2x5" and spleen["field_of_view_mm"] == "40x40x150"


def test_pieces_left_out_are_in_the_table():
    rows = {row["structure"]: row for row in case_rows(a_case(left_out={"spleen": 12, "kidney": 0}))}
    assert [rows[name]["left_out_ml"] for name in ("pancreas", "spleen", "kidney")] == [0, pytest.approx(12 * 20 / 1000), 0]
    assert "spleen: more pieces, 33% of it apart from the main part, 0.24 ml left out" in rows["spleen"]["reasons"]


def test_a_failed_case_has_one_row_with_its_error():
    (row,) = case_rows(CaseResult("b", "b.nii.gz", error="is empty\n(0 bytes)"))
    assert (row["status"], row["review"], row["score"], row["structure"]) == ("failed", "yes", 0.0, "")
    assert row["error"] == "is empty (0 bytes)"


def test_a_failed_case_has_nothing_to_measure_or_to_show():
    failed = CaseResult("b", "b.nii.gz", error="is empty")
    with pytest.raises(ValueError, match="case b has no labels"):
        failed.label_map()
    with pytest.raises(ValueError, match="case b has no image or no labels to show"):
        failed.to_show()
    whole = a_case()
    shown = (whole.image, whole.labels, whole.affine)
    assert all(one is other for one, other in zip(whole.to_show(), shown, strict=True))


def test_rows_of_finished_cases_survive_and_a_case_done_again_is_replaced(tmp_path):
    write_cases_csv(tmp_path, case_rows(CaseResult("b", "b.nii.gz", error="is empty")))
    write_cases_csv(tmp_path, case_rows(a_case("a")))
    write_cases_csv(tmp_path, case_rows(a_case("b")))
    with open(tmp_path / "cases.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["structure"]) for row in rows] == [(c, s) for c in "ab" for s in ("pancreas", "spleen", "kidney")]
    assert all(row["status"] == "ok" for row in rows)
    assert tuple(rows[0]) == COLUMNS
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"], "nothing is left beside the table"


def test_names_with_commas_quotes_and_other_alphabets_come_back(tmp_path):
    name = 'fall 3, "Köln", 例'
    write_cases_csv(tmp_path, case_rows(a_case(name)))
    assert {row["case"] for row in read_cases_csv(tmp_path)} == {name}


def test_a_folder_without_a_table_has_no_rows(tmp_path):
    assert read_cases_csv(tmp_path) == []
