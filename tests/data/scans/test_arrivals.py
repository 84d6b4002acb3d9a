"""Scans that come into a folder: given once, when they are whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import dicom_files
import pytest
from light_evaluator import scan

from bundle.data.scans import arrivals, scans_now
from bundle.data.scans.arrivals import Arrivals
from bundle.errors import UserError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(arrivals.time, "monotonic", lambda: now[0])
    return now


def names(found: list[dict]) -> list[str]:
    return [item["case"] for item in found]


def test_a_scan_is_given_once_when_its_file_has_stopped_growing(tmp_path: Path, clock: list[float]) -> None:
    whole = scan(tmp_path / "elsewhere" / "a.nii").read_bytes()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    watched = Arrivals(inbox, settle=5)
    assert watched.new() == []
    (inbox / "a.nii").write_bytes(whole[:700])
    assert watched.new() == []
    clock[0] += 4
    (inbox / "a.nii").write_bytes(whole)
    assert watched.new() == [], "it has grown"
    clock[0] += 4
    assert watched.new() == []
    clock[0] += 1
    assert names(watched.new()) == ["a"]
    clock[0] += 50
    assert watched.new() == []
    scan(inbox / "a.nii", spleen=9, seed=3)
    assert watched.new() == []
    clock[0] += 5
    assert names(watched.new()) == ["a"], "it has changed since"


def test_series_of_one_folder_are_given_once_each(tmp_path: Path, clock: list[float]) -> None:
    inbox = tmp_path / "inbox" / "patient"
    dicom_files.series(inbox, uid="1.2.3")
    for path in dicom_files.series(tmp_path / "other", uid="1.2.4"):
        path.rename(inbox / f"other_{path.name}")
    watched = Arrivals(tmp_path / "inbox", settle=5)
    watched.new()
    clock[0] += 5
    assert len(watched.new()) == 2
    scan(tmp_path / "inbox" / "ct.nii")
    watched.new()
    clock[0] += 5
    assert names(watched.new()) == ["ct"], "the others are as they were"


def test_hidden_files_and_results_are_no_arrivals_and_others_go_on_without_those_that_grow(tmp_path: Path, clock: list[float]) -> None:
    scan(tmp_path / "ct.nii")
    shutil.copy(tmp_path / "ct.nii", tmp_path / ".coming.nii")
    scan(tmp_path / "out" / "old.nii")
    watched = Arrivals(tmp_path, leave_out=tmp_path / "out", settle=5)
    assert watched.new() == []
    clock[0] += 5
    (tmp_path / "half.nii").write_bytes(b"half")
    assert names(watched.new()) == ["ct"]
    (tmp_path / ".coming.nii").rename(tmp_path / "here.nii")
    watched.new()
    clock[0] += 5
    assert names(watched.new()) == ["half", "here"]


def test_only_a_folder_can_be_watched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only a folder can be watched"):
        Arrivals(scan(tmp_path / "a.nii"))
    assert scans_now(tmp_path, watch=True) == [] and names(scans_now(tmp_path)) == ["a"]


def test_of_several_channels_a_scan_waits_for_the_others(tmp_path: Path, clock: list[float]) -> None:
    block = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
    watched = Arrivals(tmp_path, settle=5, channels=block)
    scan(tmp_path / "a_0000.nii")
    for _ in range(2):
        assert watched.new() == []
        clock[0] += 5
    scan(tmp_path / "a_0001.nii")
    assert watched.new() == [], "it is still being written"
    clock[0] += 5
    (item,) = watched.new()
    assert (item["case"], list(item["channels"])) == ("a", ["pet"])
