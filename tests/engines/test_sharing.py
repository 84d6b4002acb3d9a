"""Scans shared out between processes and parts: every one is done once, and the tables are those of one process."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from light_evaluator import evaluator, scan

from bundle.data.scans import find_scans
from bundle.engines.sharing import Share, in_order
from bundle.errors import UserError
from bundle.handlers.inference.case_reports import CaseReports
from bundle.handlers.inference.merge import merge
from bundle.handlers.inference.run_record import RunRecord


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)


def items_of(sizes: dict[str, int], folder: Path) -> list[dict[str, Any]]:
    found = []
    for name, size in sizes.items():
        (folder / name).write_bytes(b"x" * size)
        found.append({"case": name, "source": str(folder / name), "image": str(folder / name)})
    return found


def test_own_scans_first_the_largest_before_then_the_others_from_their_ends(tmp_path: Path) -> None:
    items = items_of({"a": 50, "b": 40, "c": 30, "d": 20, "e": 10}, tmp_path)
    # by hand: a to 0, b to 1, c to 1 (40 < 50), d to 0 (50 < 70), e to 0 or 1 at 70 each: 0 has as many cases, and comes first
    assert [item["case"] for item in in_order(items, 0, 2)] == ["a", "d", "e", "c", "b"]
    assert [item["case"] for item in in_order(items, 1, 2)] == ["b", "c", "e", "d", "a"]
    slices = {"case": "s", "source": str(tmp_path), "image": [str(tmp_path / "a")] * 3}
    assert [item["case"] for item in in_order([*items, slices])] == ["s", "a", "b", "c", "d", "e"]


def test_where_no_case_is_claimed_only_parts_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of({"a": 50, "b": 40}, tmp_path)
    one, other = (Share(tmp_path / "out", f"{number}/2", claims=False).of(items) for number in (1, 2))
    assert [[item["case"] for item in some] for some in (one, other)] == [["a"], ["b"]]
    alone = Share(tmp_path / "out", "1/1", claims=False).of(items)
    assert len(alone) == 2 and not alone.left_alone and Share(tmp_path / "out", "1/1").of(items).left_alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    Share(tmp_path / "out")
    with pytest.raises(UserError, match=r"^torchrun: its 2 processes would each do all scans"):
        Share(tmp_path / "out", claims=False)
    monkeypatch.delenv("WORLD_SIZE")
    for name, value in {"ID": 3, "MIN": 3, "MAX": 7, "COUNT": 2, "STEP": 1}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    Share(tmp_path / "out")
    with pytest.raises(UserError, match=r"^--part: the tasks of this array would each do all scans .*not evenly spaced"):
        Share(tmp_path / "out", claims=False)
    assert len(Share(tmp_path / "out", "1/1", claims=False).of(items)) == 2
    # an array of one task has nobody to share with
    for name, value in {"MAX": 3, "COUNT": 1}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert len(Share(tmp_path / "out", claims=False).of(items)) == 2


def shared(data: Path, out: Path, part: str, **options: Any) -> Any:
    """The light evaluator with a share in its record and reports."""
    share = Share(out, part)
    engine = evaluator(data, out, items=share.of(find_scans(data, leave_out=out)), **options)
    for handler in engine.case_handlers:
        if isinstance(handler, (RunRecord, CaseReports)):
            handler.share = share
    return engine


def data_of(folder: Path, count: int = 9) -> Path:
    for number in range(count):
        scan(folder / f"scan_{number}.nii.gz", seed=number)
    return folder


def without_times(out: Path) -> tuple[dict, list[dict]]:
    record = json.loads((out / "run.json").read_text())
    for entry in (record, *record["cases"]):
        for name in ("started", "finished", "ended", "seconds", "process"):
            entry.pop(name, None)
    with open(out / "cases.csv", newline="") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    return record, rows


def test_parts_in_any_order_make_what_one_process_makes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = data_of(tmp_path / "data")
    evaluator(data, tmp_path / "whole").run()
    out = tmp_path / "parts"
    done = []
    for number in (2, 3, 1):
        assert not (out / "cases.csv").exists() and not (out / "index.html").exists()
        done += [case.name for case in shared(data, out, f"{number}/3").run()]
        said = capsys.readouterr().out
        assert ("all 3 parts have ended" in said) == (number == 1)
    assert "not started" not in said
    assert sorted(done) == [f"scan_{number}" for number in range(9)]
    assert without_times(out) == without_times(tmp_path / "whole")
    for path in (tmp_path / "whole").glob("*_seg.nii.gz"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert (out / "index.html").is_file() and not list((out / ".records").glob("*.claim"))
    run = json.loads((out / "run.json").read_text())
    assert run["started"] and run["finished"] >= run["started"]


def test_a_part_that_did_not_end_is_named_and_merge_makes_the_tables_of_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, out = data_of(tmp_path / "data"), tmp_path / "out"
    shared(data, out, "1/3").run()
    assert "parts 2, 3 of 3 not started" in capsys.readouterr().out

    def stop(volume: object, network: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared(data, out, "2/3", inferer=stop).run()
    capsys.readouterr()
    assert merge(out) == 1
    said = capsys.readouterr()
    assert "3 written, 0 failed" in said.out
    assert "part 2 of 3 stopped before its end" in said.err and "part 3 of 3 not started" in said.err
    assert "without a result: " in said.err and said.err.count("scan_") == 5 and "and 1 more" in said.err
    assert len(without_times(out)[0]["cases"]) == 3
    shared(data, out, "2/3").run()
    assert "was begun before and did not end" in capsys.readouterr().out
    shared(data, out, "3/3").run()
    assert merge(out) == 0
    evaluator(data, tmp_path / "whole").run()
    assert without_times(out) == without_times(tmp_path / "whole")
    capsys.readouterr()
    shared(data, out, "3/3").run()
    assert "part 3/3 was finished before" in capsys.readouterr().out


def test_a_failed_scan_is_over_all_the_same_and_merge_has_its_exit_code(tmp_path: Path) -> None:
    data, out = data_of(tmp_path / "data", 4), tmp_path / "out"
    (data / "scan_1.nii.gz").write_text("no image")
    failed = [case.name for number in (1, 2) for case in shared(data, out, f"{number}/2").run() if case.error]
    assert failed == ["scan_1"]
    assert without_times(out)[0]["failed"] == 1 and merge(out) == 1


def test_of_several_processes_the_first_writes_the_tables_and_has_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data, out = data_of(tmp_path / "data", 4), tmp_path / "out"
    (data / "scan_1.nii.gz").write_text("no image")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    second = shared(data, out, None)
    second.run()
    assert len(second.failed) == 1 and not (out / "cases.csv").exists() and not (out / "index.html").exists()
    second.finalize()  # torchrun would end the other process if this one ended with 1
    with pytest.raises(SystemExit):
        second.case_handlers[0].share.only_the_last()
    monkeypatch.setenv("RANK", "0")
    first = shared(data, out, None)
    # as if both had begun at once
    first.case_handlers[0].started = ""
    monkeypatch.setattr("bundle.files.process", lambda: "another")
    monkeypatch.setattr("bundle.handlers.inference.case_entry.now", lambda: "1999")
    assert [case.name for case in first.run() if not case.skipped] == []
    assert (out / "cases.csv").is_file() and (out / "index.html").is_file()
    assert "1 case failed in the other processes" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        first.finalize()
    assert ended.value.code == 1
