"""The rows of training in docs/performance.md: turns, a step with checkpointing, and what counts as waiting."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from ignite.engine import Engine, Events

import bundle
from bundle.data.synthetic.phantom import write_phantom

spec = importlib.util.spec_from_file_location("benchmark_training", Path(bundle.root()) / "benchmarks" / "performance_training.py")
training = importlib.util.module_from_spec(spec)
spec.loader.exec_module(training)


def test_each_goes_first_in_its_turn_and_the_first_turn_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes as many seconds as the clock is moved on by it: 9 in the first turn, then 2 and 1."""
    clock, order = [0.0], []
    took = {"a": iter([9.0, 2.0, 3.0]), "b": iter([0.5, 4.0, 1.0])}

    def step(name: str) -> None:
        order.append(name)
        clock[0] += next(took[name])

    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    found = training.best_of_turns({name: lambda name=name: step(name) for name in took}, 2)
    assert found == {"a": 2.0, "b": 1.0} and "".join(order) == "abbaab"


def test_waiting_of_a_loader_that_takes_three_seconds_for_steps_of_seven() -> None:
    """The first batch of each of two epochs is left out: of 3 batches each, 2 * 2 * 3 s of waiting in 2 * 2 * 10 s."""
    now = [0.0]
    clock = training.Clock(lambda: now[0])

    def batches():
        for number in range(3):
            now[0] += 3 if number else 100
            yield number

    class Loader:
        def __len__(self) -> int:
            return 3

        def __iter__(self):
            return batches()

    def step(engine: Engine, batch: int) -> None:
        now[0] += 7

    engine = Engine(step)
    for event, handler in (
        (Events.EPOCH_STARTED, clock.epoch),
        (Events.GET_BATCH_STARTED, clock.asked),
        (Events.GET_BATCH_COMPLETED, clock.there),
        (Events.ITERATION_COMPLETED, clock.stepped),
    ):
        engine.add_event_handler(event, handler)
    engine.run(Loader(), max_epochs=2)
    assert (clock.waiting, clock.whole, clock.steps) == (12.0, 40.0, 4)


def test_a_step_with_checkpointing_in_a_process_of_its_own() -> None:
    seconds, gigabytes = training.checkpointed_step([32, 32, 32], 2, 1)
    assert 0 < seconds < 60 and 0.1 < gigabytes < 3


def test_a_step_of_an_overlay_and_the_cache_of_a_case(tmp_path: Path) -> None:
    """Half the spacing is eight times the voxels of a cached case, to what the rims round off; three steps count, each with its batch."""
    data, overlays = str(write_phantom(tmp_path / "data", cases=3, seed=1, max_voxels=6e4, jobs=1)), {}
    for spacing in (8, 4):
        overlays[spacing] = tmp_path / f"at_{spacing}.json"
        small = {"spacing": [spacing] * 3, "patch_size": [32] * 3, "network_def#channels": [4, 8, 8, 8, 8], "amp": False, "device": "cpu"}
        overlays[spacing].write_text(json.dumps({"+overlays": {f"at_{spacing}": ["train"]}, **small}))
    coarse, fine = (training._fills(data, str(tmp_path / f"cache_{spacing}"), str(overlays[spacing]), 1) for spacing in (8, 4))
    assert 6.5 < fine[1] / coarse[1] < 9.5 and coarse[0] > 0 and coarse[2] > 0.1
    step, batch, gigabytes, steps = training._steps(data, str(tmp_path / "cache_8"), str(overlays[8]), 1)
    assert 0 < batch < step < 60 and gigabytes > 0.1 and steps == 3
