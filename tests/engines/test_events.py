"""The engine of inference is one of MONAI's: events for each scan, metrics, and handlers of MONAI and Ignite beside the bundle's own."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Average
from light_evaluator import evaluator, logits, scans, spleen_voxels
from monai.data import MetaTensor
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.handlers import CheckpointLoader, StatsHandler

from bundle.engines import ScanEvents, finalize
from bundle.errors import reason
from bundle.networks.weights import digest

NAMES = ("a", "b", "c")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three scans, whose spleens have 3, 4 and 5 voxels, and one that cannot be read."""
    scans(tmp_path / "data", NAMES)
    (tmp_path / "data" / "broken.nii").write_bytes(b"")
    return tmp_path / "data"


class Seen:
    """An Ignite handler that notes what it finds at each scan."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.spleens: list[int] = []
        self.volumes: list[weakref.ref] = []

    def attach(self, engine: Engine) -> None:
        for event in (Events.STARTED, Events.ITERATION_STARTED, IterationEvents.MODEL_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED):
            engine.add_event_handler(event, self.note, event.name)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def note(self, engine: Engine, name: str) -> None:
        self.events.append(name)

    def __call__(self, engine: Engine) -> None:
        (batch,), (output,) = engine.state.batch, engine.state.output
        assert Path(batch["image"].meta["filename_or_obj"]).stem == batch["case"] == engine.case.name
        assert set(output) == {"image", "pred"} and output["image"] is batch["image"], "as MONAI's own: no names, no paths"
        assert isinstance(output["pred"], MetaTensor) and output["pred"].shape == (1, 10, 9, 8) and output["pred"].dtype == torch.uint8
        self.spleens.append(int((output["pred"] == 1).sum()))
        self.volumes.append(weakref.ref(output["pred"]))
        self.events.append(f"iteration {engine.state.iteration}")


def test_handlers_find_each_scan_with_its_labels_and_nothing_is_kept(tmp_path: Path, data: Path) -> None:
    seen = Seen()
    engine = evaluator(data, tmp_path / "out", seen)
    assert isinstance(engine, Evaluator)
    cases = engine.run()
    assert [(case.name, case.error is None) for case in cases] == [("a", True), ("b", True), ("broken", False), ("c", True)]
    assert seen.spleens == [3, 4, 5]
    scans = [["ITERATION_STARTED", "MODEL_COMPLETED", f"iteration {number}"] for number in (1, 2, 3)]
    assert seen.events == ["STARTED", *scans[0], *scans[1], *scans[2], "EPOCH_COMPLETED", "COMPLETED"]
    assert engine.state.epoch_length == 3 and engine.state.batch is None and engine.state.output is None
    gc.collect()
    assert [ref() for ref in seen.volumes] == [None] * 3
    assert [case.name for case in engine.run()] == ["broken"], "the same engine again: nothing else is left to do"
    assert engine.state.iteration == 0


def test_events_of_a_scan(tmp_path: Path, data: Path) -> None:
    order, threads = [], {}

    def note(engine: Engine, name: str) -> None:
        order.append((name, engine.case.name if engine.case else None))
        threads.setdefault(name, set()).add(threading.current_thread().name.split("_")[0])

    engine = evaluator(data, tmp_path / "out")
    for event in ScanEvents:
        engine.add_event_handler(event, note, event.name)
    engine.run()
    for name in NAMES:
        done = ["SCAN_LOADED", "SCAN_PREDICTED", "SCAN_COMPLETED", "SCAN_REPLACING", "SCAN_ENDED"]
        assert [event for event, case in order if case == name] == done
    assert [event for event, case in order if case == "broken"] == ["SCAN_FAILED", "SCAN_ENDED"]
    assert order[-1] == ("RUN_FINISHED", None) and [event for event, _ in order].count("RUN_FINISHED") == 1
    assert threads["SCAN_COMPLETED"] == {"write"} and threads["SCAN_PREDICTED"] == {"MainThread"} and "load" in threads["SCAN_LOADED"]


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, IterationEvents.MODEL_COMPLETED, Events.ITERATION_COMPLETED])
def test_a_handler_that_raises_costs_one_scan(tmp_path: Path, data: Path, event: Events) -> None:
    seen, out = Seen(), tmp_path / "out"
    engine = evaluator(data, out)

    @engine.on(event)
    def fails(engine: Engine) -> None:
        if engine.case.name == "b":
            raise OSError("no room for b")

    seen.attach(engine)
    engine.run()
    assert {case.name: reason(case.error) for case in engine.failed if case.name != "broken"} == {"b": "OSError: no room for b"}
    assert seen.spleens == [3, 5], "handlers after it do not see the scan that failed"
    assert sorted(path.name for path in out.glob("*_seg.nii.gz")) == ["a_seg.nii.gz", "c_seg.nii.gz"]
    with pytest.raises(SystemExit):
        finalize(engine)


def test_what_a_handler_makes_of_the_labels_is_written(tmp_path: Path, data: Path) -> None:
    engine = evaluator(data, tmp_path / "out")

    @engine.on(IterationEvents.MODEL_COMPLETED)
    def one_hot(engine: Engine) -> None:
        labels = engine.state.output[0]["pred"]
        engine.state.output = [{**engine.state.output[0], "pred": torch.cat([labels == 1, labels != 1]).float()}]

    engine.run()
    # spleen became the first channel, everything else the second
    assert [spleen_voxels(tmp_path / "out" / f"{name}_seg.nii.gz") for name in NAMES] == [717, 716, 715]


def test_labels_on_another_grid_are_refused_in_words(tmp_path: Path, data: Path) -> None:
    engine = evaluator(data, tmp_path / "out")
    engine.postprocessing = lambda d: {**d, "pred": d["pred"].argmax(0, keepdim=True)[:, ::2]}
    engine.run()
    assert "pred has (5, 9, 8) voxels and the scan (10, 9, 8)" in reason(engine.failed[0].error)
    assert not list((tmp_path / "out").glob("*_seg.nii.gz"))


def test_metrics_over_the_scans(tmp_path: Path, data: Path) -> None:
    def spleen(output: list[dict]) -> float:
        return float((output[0]["pred"] == 1).sum())

    def engine_of(folder: Path, **options: object) -> Evaluator:
        made = evaluator(folder, tmp_path / f"out_{folder.name}")
        kept = {name: getattr(made, name) for name in ("dataset", "network", "inferer", "postprocessing")}
        more = {"additional_metrics": {"also": Average(spleen)}, "key_val_metric": {"spleen": Average(spleen)}}
        return type(made)(device="cpu", val_handlers=made.case_handlers, **kept, **more, **options)

    engine = engine_of(data)
    engine.run()
    assert engine.state.metrics == {"spleen": 4.0, "also": 4.0} and engine.state.best_metric == 4.0
    assert len(engine.failed) == 1, "the scan that cannot be read is not in the mean"
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "broken.nii").write_bytes(b"")
    alone = engine_of(tmp_path / "none")
    assert len(alone.run()) == 1 and alone.state.metrics == {}, "a mean over no scan is none, and no error"


def test_ignite_s_own_ways(tmp_path: Path, data: Path) -> None:
    counted, out = [], tmp_path / "out"
    engine = evaluator(data, out)
    handle = engine.add_event_handler(Events.ITERATION_COMPLETED, counted.append)
    every = engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: counted.append("second"))
    assert engine.has_event_handler(counted.append, Events.ITERATION_COMPLETED)
    handle.remove()
    assert not engine.has_event_handler(counted.append, Events.ITERATION_COMPLETED)
    engine.run()
    assert counted == ["second"]
    every.remove()
    engine = evaluator(data, out, overwrite=True)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    assert [case.name for case in engine.run() if case.error is None] == ["a", "b"], "a handler may end the run"
    assert {c["case"]: c["status"] for c in json.loads((out / "run.json").read_text())["cases"]}["c"] == "ok", "that of the run before"


def test_after_an_interrupt_the_same_engine_goes_on(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def interrupted(volume, network):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return logits(volume, network)

    engine = evaluator(data, tmp_path / "out", StatsHandler(), inferer=interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert engine.interrupted and [case.name for case in engine.cases] == ["a"]
    assert "terminating due to exception" not in caplog.text
    assert [case.name for case in engine.run()] == ["b", "broken", "c"]


def test_weights_that_a_handler_loads_are_those_of_the_record(tmp_path: Path, data: Path) -> None:
    torch.manual_seed(0)
    network, other = torch.nn.BatchNorm3d(1), torch.nn.BatchNorm3d(1)
    torch.nn.init.constant_(other.weight, 3.0)
    for name, one in (("own", network), ("other", other)):
        torch.save(one.state_dict(), tmp_path / f"{name}.pt")
    folded, out = [], tmp_path / "out"

    def engine(loaded: str) -> Evaluator:
        made = evaluator(data, out, weights=tmp_path / "own.pt")
        made.network = torch.nn.BatchNorm3d(1)
        made.network.load_state_dict(torch.load(tmp_path / "own.pt"))
        made.prepare = lambda plain: folded.append(float(plain.weight)) or plain
        CheckpointLoader(str(tmp_path / f"{loaded}.pt"), {"model": made.network}).attach(made)
        return made

    def recorded() -> set[str]:
        return {case["settings"]["weights"] for case in json.loads((out / "run.json").read_text())["cases"] if case["status"] == "ok"}

    engine("own").run()
    assert folded == [1.0] and recorded() == {digest(network.state_dict())} == {digest(tmp_path / "own.pt")}
    assert [case.name for case in engine("own").run()] == ["broken"]
    engine("other").run()
    assert folded == [1.0, 3.0] and recorded() == {digest(other.state_dict())}, "folded after the handler has loaded"
