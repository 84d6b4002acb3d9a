"""What the console says while a folder is segmented, and at the end."""

from __future__ import annotations

import csv
import errno
import io
from pathlib import Path
from types import SimpleNamespace

import light_evaluator
import pytest

from bundle.data.scans import FoundScans
from bundle.engines.case import Case
from bundle.errors import UserError
from bundle.handlers.inference.console import Console


class Earlier(Console):
    def done(self, item: dict) -> bool:
        return item["case"] == "old"


def items(*names: str) -> FoundScans:
    return FoundScans([{"image": f"{n}.nii", "case": n, "source": f"/in/{n}.nii"} for n in names], ["left alone: 2 label maps (x, ...)"])


def evaluator(console: Console, data: FoundScans) -> SimpleNamespace:
    return SimpleNamespace(done=console.done, dataset=SimpleNamespace(data=data))


def ended(name: str, error: Exception | None = None) -> Case:
    return Case({"case": name, "source": f"/in/{name}.nii"}, seconds={"load": 1.0, "network": 2.5}, error=error)


def test_all_words_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    console, data = Earlier(tmp_path), items("a", "b", "old")
    engine = evaluator(console, data)
    console.start(engine, list(data))
    console.ended(ended("a"))
    console.ended(ended("b", UserError("/in/b.nii", "the file is empty", "copy it again")))
    (tmp_path / "index.html").write_text("x")
    with open(tmp_path / "cases.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["case", "review"], ["a", "no"], ["a", "no"], ["b", "yes"], ["old", "yes"], ["old", "yes"]])
    console.finish(engine)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"3 scans found, 1 of them finished by an earlier run; results go to {tmp_path}",
        "left alone: 2 label maps (x, ...)",
    ]
    assert lines[2].endswith("[1/2] a: label map written, 3.5 s") and lines[2][2] == lines[2][5] == ":"
    assert lines[3].endswith("[2/2] b: failed: /in/b.nii: the file is empty. Fix: copy it again.")
    assert lines[4:] == [
        f"1 label map written to {tmp_path} in 0 s (load 2.0 s, network 5.0 s)",
        "1 case of an earlier run left as it was",
        "1 case failed (all errors are in run.json):",
        "  b: /in/b.nii: the file is empty. Fix: copy it again.",
        f"look at {tmp_path}/index.html: 2 of 3 cases marked for review",
    ]


def test_pictures_that_are_missing_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    console, data = Console(tmp_path), items("a", "b", "c", "d")
    console.start(evaluator(console, data), list(data))
    for name, lacking in (("a", []), ("b", ["previews", "previews"]), ("c", ["attention"])):
        case = ended(name)
        case.lacking += lacking
        console.ended(case)
    failed = ended("d", OSError(28, "No space left on device"))
    failed.lacking.append("previews")
    console.ended(failed)
    console.finish(evaluator(console, data))
    out = capsys.readouterr().out
    assert "pictures of 2 cases are missing (the warnings say why); run the same command again\n" in out


def test_an_interrupted_run_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    console, data = Console(tmp_path), items("a", "b", "c")
    console.start(evaluator(console, data), list(data))
    console.ended(ended("a"))
    console.finish(evaluator(console, data))
    out = capsys.readouterr().out
    assert f"1 label map written to {tmp_path}" in out and "stopped after 1 of 3 scans: the same command does the others" in out
    assert "nothing to do" not in out


def test_nothing_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    console, data = Earlier(tmp_path), items("old")
    console.start(evaluator(console, data), list(data))
    console.finish(evaluator(console, data))
    assert f"0 label maps written to {tmp_path} in 0 s (nothing to do)" in capsys.readouterr().out


def test_a_console_that_is_gone_costs_no_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`... | head -3`: the results are written, and so says the exit code."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    engine = light_evaluator.evaluator(light_evaluator.scans(tmp_path / "data", ["a", "b"]), tmp_path / "out", Console(tmp_path / "out"))
    monkeypatch.setattr("sys.stdout", Gone())
    cases = engine.run()
    assert [case.error for case in cases] == [None, None] and not engine.problems
