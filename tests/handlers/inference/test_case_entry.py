"""Entries of the record by hand: results, failures that keep a result, results that count again, files that go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bundle
from bundle.engines.case import Case
from bundle.files import process
from bundle.handlers.inference import case_entry
from bundle.handlers.inference.finished import Wanted
from bundle.results import identity


@pytest.fixture
def case(tmp_path: Path) -> Case:
    path = tmp_path / "ct.nii"
    path.write_bytes(b"scan")
    item = {"case": "ct", "image": str(path), "source": str(path)}
    row = {"case": "ct", "source": str(path), "structure": "spleen", "volume_ml": 0.032, "status": "ok"}
    done = Case(item, files=["ct_seg.nii.gz", "ct_preview.png"], rows=[row], seconds={"load": 1.23456}, lacking=["attention"])
    done.identity = {"digest": "d", "stamp": identity.stamp([str(path)]), "bytes": 4}
    return done


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return Wanted(tmp_path, {"spacing": (2.0, 2.0, 2.0)}, ["attention", "previews"], details={"dicom_seg_type": "labelmap"})


def failing(case: Case) -> Case:
    return Case(case.item, error=ValueError("broken"))


def test_a_result(case, wanted):
    entry = case_entry.written(case, wanted)
    assert entry.pop("ended") <= case_entry.now()
    assert entry == {
        "case": "ct",
        "source": case.source,
        "status": "ok",
        "output": "ct_seg.nii.gz",
        "files": ["ct_preview.png", "ct_seg.nii.gz"],
        "digest": "d",
        "stamp": case.identity["stamp"],
        "bytes": 4,
        "settings": {"spacing": [2, 2, 2]},
        "details": {"dicom_seg_type": "labelmap"},
        "options": ["previews"],
        "seconds": {"load": 1.235},
        "bundle": bundle.__version__,
        "process": process(),
        "rows": case.rows,
    }
    assert case_entry.result_in(entry) is entry and case_entry.result_in(None) is None


def test_a_failure_keeps_the_result_before_it_also_twice(case, wanted):
    before = case_entry.written(case, wanted)
    entry = case_entry.failed(failing(case), wanted, before)
    assert (entry["status"], entry["output"], entry["files"], entry["error"]) == ("failed", None, [], "broken")
    assert entry["kept"]["files"] == before["files"] and entry["kept"]["source"] == case.source
    assert not {"status", "case", "error"} & set(entry["kept"])
    assert [(row["volume_ml"], row["status"]) for row in entry["rows"]] == [(0.032, "failed")]
    again = case_entry.failed(failing(case), wanted, entry)
    assert again["kept"] == entry["kept"]
    assert case_entry.result_in(again) == {**entry["kept"], "case": "ct"}


def test_a_failure_without_a_result_before_it(case, wanted):
    entry = case_entry.failed(failing(case), wanted, None)
    assert "kept" not in entry and entry["rows"][0]["error"] == "broken"
    assert case_entry.result_in(entry) is None


def test_what_was_just_being_replaced_is_no_result_and_its_files_go_with_the_next_one(case, wanted):
    before = {**case_entry.written(case, wanted), "status": "replacing"}
    entry = case_entry.failed(Case(case.item, files=["ct_seg.nii.gz", "ct_x.nii"], error=ValueError("broken")), wanted, before)
    assert "kept" not in entry and entry["files"] == ["ct_preview.png", "ct_seg.nii.gz", "ct_x.nii"]


def test_a_kept_result_counts_again_as_that_of_the_scan(case, wanted):
    entry = case_entry.failed(failing(case), wanted, case_entry.written(case, wanted))
    again = case_entry.current(case_entry.result_in(entry), case.item)
    assert (again["status"], again["case"], again["files"]) == ("ok", "ct", ["ct_preview.png", "ct_seg.nii.gz"])
    assert case_entry.current(again, case.item) is again, "nothing to write"


def test_a_scan_that_moved_or_has_other_times(case, wanted):
    entry = case_entry.written(case, wanted)
    os.utime(case.source, ns=(1, 1))
    touched = case_entry.current(entry, case.item)
    assert touched == {**entry, "stamp": identity.stamp([case.source])} != entry
    moved = str(Path(case.source).with_name("moved.nii"))
    os.rename(case.source, moved)
    found = case_entry.current(entry, {"case": "ct", "image": moved, "source": moved})
    assert (found["source"], found["rows"][0]["source"]) == (moved, moved)


def test_files_that_the_new_result_lacks_go_and_those_of_others_stay(tmp_path):
    for name in ("ct_seg.nii.gz", "ct_old.nii.gz", "ct_kept.nii.gz", "ct_mine.txt", "other_seg.nii.gz"):
        (tmp_path / name).touch()
    before = {"case": "ct", "files": ["ct_seg.nii.gz", "ct_old.nii.gz", "../x", "other_seg.nii.gz"], "kept": {"files": ["ct_kept.nii.gz"]}}
    case_entry.clear(tmp_path, before, {"files": ["ct_seg.nii.gz"]})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct_mine.txt", "ct_seg.nii.gz", "other_seg.nii.gz"]
