"""Records of cases: read back, never outside of their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.results import records


def test_a_record_that_was_tampered_with_names_no_file_outside(tmp_path: Path) -> None:
    entry = {"case": "ct", "files": ["../../x", "/etc/passwd", "other_seg.nii.gz", "ct_seg.nii.gz", "ct_/../../x"]}
    assert records.own_files(entry) == ["ct_seg.nii.gz"]
    (tmp_path / "run.json").write_text(json.dumps({"cases": [{"case": "../x", "source": "s", "status": "ok"}, 3, {"case": 4}]}))
    held = records.Records(tmp_path)
    held.open()
    assert list(held) == [] and not (tmp_path.parent / "x.json").exists()


def entry(case: str, **more: object) -> dict:
    return {"case": case, "source": f"/scans/{case}.nii", "status": "ok", **more}


def test_names_are_one_where_a_file_system_takes_them_for_one() -> None:
    # u and two dots, or the one letter; capitals
    assert records.key("Mu\u0308ller") == records.key("M\u00fcller") == records.key("M\u00dcLLER") != records.key("Muller")


def test_entries_are_kept_by_name_and_seen_by_other_processes(tmp_path: Path) -> None:
    one, other = records.Records(tmp_path), records.Records(tmp_path)
    one.open()
    other.open()
    one.save(entry("b"))
    one.save(entry("a", seconds=1))
    one.save(entry("A", seconds=2))
    assert [found["case"] for found in one] == ["A", "b"] and len(one) == 2 and one.get("a")["seconds"] == 2
    assert len(other) == 0 and other.reread("b") == entry("b")
    other.refresh()
    assert list(other) == list(one)
    # another process writes a case anew
    one.save(entry("b", seconds=3))
    assert other.get("b") == entry("b")
    other.refresh()
    assert other.get("b")["seconds"] == 3


def test_a_copy_without_the_hidden_folder_is_read_back_from_its_tables(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cases": [entry("a"), entry("b"), {"case": "c"}]}))
    held = records.Records(tmp_path)
    held.open(lambda: {"a": [{"structure": "spleen"}]})
    assert list(held) == [entry("a", rows=[{"structure": "spleen"}]), entry("b", rows=[])]
    again = records.Records(tmp_path)
    again.open(lambda: pytest.fail("every entry has its record"))
    assert list(again) == list(held)


def test_nothing_is_left_of_a_case_without_its_label_map_or_its_source(tmp_path: Path) -> None:
    (tmp_path / "a_seg.nii.gz").touch()
    (tmp_path / "b.seg.nrrd").touch()
    there = str(tmp_path / "a_seg.nii.gz")
    assert [records.is_past(tmp_path, entry(case)) for case in "abc"] == [False, False, True]
    failed = [{"status": "failed", "source": there}, {"status": "failed"}, {"status": "failed", "kept": {"files": []}}]
    assert [records.is_past(tmp_path, entry("c", **more)) for more in failed] == [False, True, False]
    (tmp_path / "export.zip").touch()
    places = [str(tmp_path / archive / "PA0" / "SE0") for archive in ("export.zip", "gone.zip")]
    assert [records.is_past(tmp_path, entry("c", status="failed", source=place)) for place in places] == [False, True]


def test_results_are_what_entries_name_and_what_they_keep(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cases": [entry("a", files=["a_seg.nii.gz", "elsewhere.txt"])]}))
    held = records.Records(tmp_path)
    held.open()
    held.save(entry("b", files=["b.seg.nrrd"], kept={"files": ["b_seg.nii.gz"]}))
    assert records.result_files(tmp_path) == {"a_seg.nii.gz", "b.seg.nrrd", "b_seg.nii.gz"}
