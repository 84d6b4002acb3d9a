"""`run.json` and `cases.csv` from the records: when they are due, what they hold, rows that are marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from light_evaluator import evaluator, scan

from bundle import files
from bundle.handlers.inference import run_tables
from bundle.handlers.inference.run_record import RunRecord
from bundle.handlers.inference.run_tables import RunTables, failed_rows, rows_by_case
from bundle.quality.cases import read_cases_csv
from bundle.results.records import Records


def test_tables_are_not_written_anew_after_every_case(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    for name in range(120):
        scan(tmp_path / "data" / f"s{name:03d}.nii")
    evaluator(tmp_path / "data", out).run()
    shutil.rmtree(tmp_path / "data")
    scan(tmp_path / "data" / "x1.nii"), scan(tmp_path / "data" / "x2.nii"), scan(tmp_path / "data" / "x3.nii")
    sizes = []
    monkeypatch.setattr("bundle.handlers.inference.run_tables.PAUSE", 0.0)
    write = RunRecord._write_tables
    monkeypatch.setattr(RunRecord, "_write_tables", lambda self, run: sizes.append(run["finished"] is not None) or write(self, run))
    evaluator(tmp_path / "data", out).run()
    # at the start, after two of three new ones (a 50th of 121), at the end
    assert sizes == [False, False, True] and len(json.loads((out / "run.json").read_text())["cases"]) == 123


def entry(case: str, status: str = "ok", **more) -> dict:
    row = {"case": case, "source": f"/x/{case}.nii", "status": status, "structure": "spleen", "volume_ml": 1.5}
    return {"case": case, "source": f"/x/{case}.nii", "status": status, "rows": [row], **more}


def records_of(folder: Path, *entries: dict) -> Records:
    records = Records(folder)
    records.open()
    for one in entries:
        records.save(one)
    return records


def test_both_tables_hold_every_case_but_the_hidden(tmp_path: Path) -> None:
    records = records_of(tmp_path, entry("b"), entry("a"), entry("c", "failed"), entry("gone"))
    RunTables(records).write({"settings": {"spacing": 2}, "started": "x", "finished": None}, {"gone"}, wait=0.0)
    content = json.loads((tmp_path / "run.json").read_text())
    assert [one["case"] for one in content["cases"]] == ["a", "b", "c"] and "rows" not in content["cases"][0]
    assert (content["written"], content["failed"], content["settings"]) == (2, 1, {"spacing": 2})
    assert [row["case"] for row in read_cases_csv(tmp_path)] == ["a", "b", "c"]
    assert rows_by_case(tmp_path)["b"][0]["volume_ml"] == "1.5" and rows_by_case(tmp_path / "none") == {}


def test_what_other_processes_wrote_is_in_the_tables_and_a_lock_is_respected(tmp_path: Path) -> None:
    records = records_of(tmp_path, entry("a"))
    records_of(tmp_path, entry("b"))
    with files.locked(tmp_path / ".records" / ".lock"):
        RunTables(records).write({}, set(), wait=0.0)
    assert not (tmp_path / "run.json").exists()
    RunTables(records).write({}, set(), wait=0.0)
    assert [row["case"] for row in read_cases_csv(tmp_path)] == ["a", "b"]


def test_due_after_a_fiftieth_or_a_minute(tmp_path: Path, monkeypatch) -> None:
    records = records_of(tmp_path, *(entry(f"c{n:03d}") for n in range(100)))
    tables, clock = RunTables(records), [1000.0]
    monkeypatch.setattr(run_tables.time, "monotonic", lambda: clock[0])
    tables.write({}, set(), wait=0.0)
    tables._took = 1.0
    clock[0] += 19
    assert [tables.note(), tables.note()] == [False, False], "two are a fiftieth, but it takes a second and 20 have not passed"
    clock[0] += 2
    assert tables.note()
    tables.write({}, set(), wait=0.0)
    tables._took = 10.0
    clock[0] += 61
    assert tables.note(), "a minute"


def test_rows_of_a_failed_case_are_those_that_are_kept_and_marked() -> None:
    failed = {"case": "a", "source": "/x/a.nii", "error": "is empty"}
    (alone,) = failed_rows(failed, None)
    assert (alone["status"], alone["error"], alone["structure"]) == ("failed", "is empty", "")
    kept = {**entry("a"), "ended": "2026-01-02"}
    (marked,) = failed_rows(failed, kept)
    assert (marked["status"], marked["volume_ml"], marked["structure"]) == ("failed", 1.5, "spleen")
    assert marked["error"] == "is empty (files and figures are those of an earlier run, 2026-01-02)"
