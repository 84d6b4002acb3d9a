"""The engine of inference: what fails costs one case, stages overlap, and an interrupt leaves a whole record."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from light_evaluator import evaluator, logits, scans, spleen_voxels
from monai.data import Dataset

from bundle.engines import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError, reason
from bundle.files import Staged

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return scans(tmp_path / "data", NAMES)


def recorded(out: Path) -> dict[str, str]:
    return {case["case"]: case["status"] for case in json.loads((out / "run.json").read_text())["cases"]}


class Failing(CaseHandler):
    """Fails for case b in one of the calls."""

    def __init__(self, call: str) -> None:
        setattr(self, call, self._fail)

    def _fail(self, case) -> bool:
        if (case["case"] if isinstance(case, dict) else case.name) == "b":
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return True


@pytest.mark.parametrize("memory_gb", [None, 0.001], ids=["overlapping", "one after the other"])
@pytest.mark.parametrize("call", ["claim", "loaded", "predicted", "completed", "replacing", "ended"])
def test_whatever_fails_costs_one_case(tmp_path: Path, data: Path, call: str, memory_gb: float | None) -> None:
    out = tmp_path / "out"
    engine = evaluator(data, out, Failing(call), memory_gb=memory_gb)
    cases = engine.run()
    assert sorted(case.name for case in cases) == list(NAMES)
    assert [(case.name, reason(case.error)) for case in engine.failed] == [("b", "File name too long")]
    assert {n: spleen_voxels(out / f"{n}_seg.nii.gz") for n in "acd"} == {"a": 3, "c": 5, "d": 6}
    if call != "ended":  # the record was written before
        assert recorded(out) == {"a": "ok", "b": "failed", "c": "ok", "d": "ok"} and not (out / "b_seg.nii.gz").exists()
    assert not list(out.glob(".*unfinished")) and not list((out / ".records").glob("*.claim"))
    with pytest.raises(SystemExit) as end:
        engine.finalize()
    assert end.value.code == 1


class NoRoom(CaseHandler):
    """Finds no room for the pictures of case b."""

    def completed(self, case) -> None:
        if case.name == "b":
            case.no_picture(Path("b_preview.png"), "previews", OSError(errno.ENOSPC, "No space left on device"))


def test_gates_are_asked_for_of_a_network_that_has_them_before_anything_is_loaded(tmp_path: Path, data: Path) -> None:
    engine = evaluator(data, tmp_path / "out")
    engine.attention = True
    with pytest.raises(UserError, match="attention: this network has no gates to show"):
        engine.run()
    assert engine.cases == [] and not (tmp_path / "out").exists()


def test_a_picture_that_could_not_be_written_is_an_exit_code(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    engine = evaluator(data, out, NoRoom())
    engine.run()
    assert engine.failed == [] and [case.name for case in engine.lacking] == ["b"] and set(recorded(out).values()) == {"ok"}
    with pytest.raises(SystemExit) as end:
        engine.finalize()
    assert end.value.code == 1
    engine = evaluator(data, tmp_path / "other")
    engine.run()
    engine.finalize()


def test_an_interrupt_leaves_a_whole_record_and_the_next_run_does_the_rest(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    calls = []

    def interrupted(volume, network):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return logits(volume, network)

    engine = evaluator(data, out, inferer=interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert engine.interrupted and sorted(case.name for case in engine.cases) == ["a", "b"], "b was being written"
    assert recorded(out) == {"a": "ok", "b": "ok"} and len(list(out.glob("*_seg.nii.gz"))) == 2
    assert not list((out / ".records").glob("*.claim")) and not list(out.glob(".*unfinished"))
    assert [case.name for case in evaluator(data, out).run()] == ["c", "d"]


def test_a_full_disk_costs_each_case_one_line_and_no_earlier_result(tmp_path: Path, data: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    evaluator(data, out).run()
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(arguments[1]))

    with monkeypatch.context() as patch:
        patch.setattr(Staged, "written", full)
        engine = evaluator(data, out, overwrite=True)
        engine.run()
    assert [reason(case.error) for case in engine.failed] == [f"{out / n}_seg.nii.gz: No space left on device" for n in NAMES]
    assert {p.name: p.read_bytes() for p in out.glob("*_seg.nii.gz")} == {n: c for n, c in before.items() if n.endswith("_seg.nii.gz")}
    assert set(recorded(out).values()) == {"failed"}
    assert evaluator(data, out).run() == [], "what was kept is of the same scans and settings"
    assert set(recorded(out).values()) == {"ok"}


def test_no_room_at_the_start_is_one_line(tmp_path: Path, data: Path, monkeypatch) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("bundle.files.write_json", full)
    with pytest.raises(UserError, match=r"out: results cannot be written here \(No space left on device\)\. Fix: "):
        evaluator(data, tmp_path / "out").run()


def test_a_table_that_cannot_be_written_ends_nothing(tmp_path: Path, data: Path, capsys) -> None:
    class Late(CaseHandler):
        def finish(self, engine) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", "cases.csv")

    engine = evaluator(data, tmp_path / "out", Late())
    engine.run()
    assert not engine.failed and "error: cases.csv: No space left on device" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        engine.finalize()


def test_a_name_too_long_for_its_files_fails_alone(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    items = [{"image": str(data / f"{n}.nii"), "source": str(data / f"{n}.nii"), "case": n, "problem": None} for n in NAMES]
    items[1]["case"] = "x" * 245
    engine = evaluator(data, out, items=items)
    engine.run()
    assert len(engine.failed) == 1 and "File name too long" in reason(engine.failed[0].error)
    assert sorted(path.name[0] for path in out.glob("*_seg.nii.gz")) == ["a", "c", "d"]
    assert os.path.isfile(out / "run.json")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_killed_at_any_moment_leave_no_record_that_is_wrong(tmp_path: Path) -> None:
    here = Path(__file__).resolve()
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here.parents[1], here.parents[2]))), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(here.with_name("killed_runs.py")), str(tmp_path)]
    done = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def bare(inferer=logits, items=(), **keys) -> ScanEvaluator:
    """The engine over volumes that are in memory, without handlers."""
    dataset = Dataset(list(items), lambda item: item)
    return ScanEvaluator(device="cpu", dataset=dataset, network=torch.nn.Identity(), inferer=inferer, **keys)


@pytest.mark.parametrize(
    ("key", "value", "fix"),
    [
        ("compile", True, "torch.compile"),
        ("epoch_length", 3, "give fewer scans"),
        ("prepare_batch", len, "transform in preprocessing"),
        ("iteration_update", len, "inferer of your own"),
    ],
)
def test_keys_of_monais_evaluators_without_a_place_here_are_one_line(key, value, fix) -> None:
    with pytest.raises(UserError, match=f"^evaluator: {key} has no place where scans come one by one.*{fix}"):
        bare(**{key: value})
    assert bare(**{key: None})


def test_an_argument_that_there_is_not_is_one_line() -> None:
    with pytest.raises(UserError, match="evaluator: it has no argument flipps"):
        bare(flipps=True)


def test_keys_of_monais_evaluators_that_change_nothing_are_taken() -> None:
    assert bare(non_blocking=True, decollate=True, to_kwargs={"memory_format": torch.channels_last_3d})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_takes_its_keys(data: Path, tmp_path: Path, dtype) -> None:
    seen = []

    def inferer(volume, network):
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return logits(volume, network)

    whole = evaluator(data, tmp_path / "out")
    engine = bare(inferer, whole.dataset.data[:1], amp=True, amp_kwargs={"dtype": dtype})
    engine.dataset.transform = whole.dataset.transform
    engine.run()
    assert seen == [(True, dtype)]
