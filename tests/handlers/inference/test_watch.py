"""A run that stays takes what comes, keeps tables and page up to date, and ends as any run."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from light_evaluator import evaluator, scan, spleen_voxels

from bundle.errors import UserError
from bundle.handlers.inference.console import Console
from bundle.handlers.inference.watch import Watch
from bundle.quality.cases import read_cases_csv


def watching(inbox: Path, out: Path, *more, idle: float | None = 0.6):
    watch = Watch(inbox, out, watch=True, idle=idle, settle=0.1, poll=0.02)
    return evaluator(inbox, out, watch, Console(out), *more, items=[])


def until(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def status(out: Path) -> dict[str, str]:
    record = out / "run.json"
    return {case["case"]: case["status"] for case in json.loads(record.read_text())["cases"]} if record.is_file() else {}


def test_scans_that_come_are_segmented_until_none_comes(tmp_path: Path, capsys) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    scan(inbox / "first.nii", 3)
    engine = watching(inbox, out, idle=3)
    seen: dict[str, object] = {}

    def send() -> None:
        until(lambda: (out / "first_seg.nii.gz").is_file() and (out / "index.html").is_file())
        until(lambda: "first" in status(out) and read_cases_csv(out))  # run.json is written before the table
        seen["while waiting"] = (status(out), len(read_cases_csv(out)))
        scan(inbox / "patient" / "second.nii", 5)
        (inbox / "broken.nii").write_bytes(b"not a scan")

    sender = threading.Thread(target=send)
    sender.start()
    cases = engine.run()
    sender.join()
    assert seen["while waiting"] == ({"first": "ok"}, 1), "tables are up to date while it waits"
    assert sorted(case.name for case in cases) == ["broken", "first", "patient_second"]
    assert spleen_voxels(out / "patient_second_seg.nii.gz") == 5
    assert status(out) == {"first": "ok", "patient_second": "ok", "broken": "failed"}
    with pytest.raises(SystemExit) as end:
        engine.finalize()
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert "waiting for scans; Ctrl-C ends the run" in said and "2 label maps written" in said

    again = watching(inbox, out)
    assert [case.name for case in again.run()] == ["broken"], "what an earlier run has finished is left as it is"
    assert "2 of them finished by an earlier run" in capsys.readouterr().out


def test_ctrl_c_while_waiting_ends_the_run_like_its_last_scan(tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    scan(inbox / "a.nii")
    engine = watching(inbox, out, idle=None)

    def interrupt() -> None:
        try:
            until(lambda: (out / "index.html").is_file() and "a" in status(out))
            time.sleep(0.1)
        finally:  # whatever comes in between: without it the run waits for ever
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert [case.name for case in engine.run()] == ["a"]
    assert not engine.interrupted and json.loads((out / "run.json").read_text())["finished"]
    engine.finalize()


def test_a_run_that_is_started_again_waits_although_all_is_finished(tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    scan(inbox / "a.nii")
    assert [case.name for case in watching(inbox, out).run()] == ["a"]
    engine = watching(inbox, out, idle=5)
    waiting = threading.Event()
    engine.await_scans = lambda: waiting.set() if engine.items else None  # the second time, as `a` is known then

    def send() -> None:
        assert waiting.wait(20)
        scan(inbox / "b.nii", 5)

    threading.Thread(target=send).start()
    assert [case.name for case in engine.run()] == ["b"] and spleen_voxels(out / "b_seg.nii.gz") == 5


def test_a_scan_that_changes_is_done_again(tmp_path: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    scan(inbox / "a.nii", 3)
    engine = watching(inbox, out, idle=2)

    def change() -> None:
        until(lambda: (out / "a_seg.nii.gz").is_file() and spleen_voxels(out / "a_seg.nii.gz") == 3)
        scan(inbox / "a.nii", 7)

    changer = threading.Thread(target=change)
    changer.start()
    engine.run()
    changer.join()
    assert spleen_voxels(out / "a_seg.nii.gz") == 7 and status(out) == {"a": "ok"}


def test_what_cannot_be_watched_is_one_line(tmp_path: Path) -> None:
    scan(tmp_path / "in" / "a.nii")
    with pytest.raises(UserError, match="this run has several"):
        Watch(tmp_path / "in", tmp_path / "out", watch=True, part="1/2")
    with pytest.raises(UserError, match="these configs name their scans"):
        evaluator(tmp_path / "in", tmp_path / "out", Watch(tmp_path / "in", tmp_path / "out", watch=True)).run()
    assert evaluator(tmp_path / "in", tmp_path / "out", Watch(tmp_path / "in", tmp_path / "out")).run()[0].error is None
