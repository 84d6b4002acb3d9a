"""Training, for `benchmarks/performance.py`: steps of three networks in turns, memory of a step, and how long training waits for data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peak_memory import peak

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = ("authors", "monai", "ours")
# scans of the phantom, of which four fifths are for training; scans in a batch; steps that are looked at
CASES, BATCH, STEPS = 10, 2, 6


def steps_in_turns(precision: str, size: list[int], threads: int, turns: int) -> dict[str, float]:
    """Seconds of a training step (forward, loss, backward, Adam; one patch) of each network, the best of the turns."""
    import network
    import torch

    torch.set_num_threads(threads)
    steps = {row: network.prepare(row, "training", precision, "cpu", size) for row in NETWORKS}
    return best_of_turns(steps, turns)


def best_of_turns(steps: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    """Seconds of each, the best of the turns after a first one that does not count; in each turn another one begins."""
    seconds = {row: float("inf") for row in steps}
    for turn in range(turns + 1):
        first = turn % len(steps)
        for row in [*steps][first:] + [*steps][:first]:
            began = time.perf_counter()
            steps[row]()
            if turn:
                seconds[row] = min(seconds[row], time.perf_counter() - began)
    return seconds


def kept_and_not(precision: str, size: list[int], threads: int, turns: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds of our training step and peak memory in GB, the best of the turns: with freed memory kept, and given back."""
    found = {keep: [_alone("_our_step", precision, size, threads, keep) for _ in range(turns)] for keep in (True, False)}
    kept, not_kept = (tuple(min(turn) for turn in zip(*found[keep], strict=True)) for keep in (True, False))
    return kept, not_kept


def _our_step(precision: str, size: list[int], threads: int, keep: bool) -> list[float]:
    import network
    import torch

    from bundle.kept_memory import keep_memory

    if keep:
        keep_memory()
    torch.set_num_threads(threads)
    step = network.prepare("ours", "training", precision, "cpu", size)
    seconds = best_of_turns({"ours": step}, 3)["ours"]
    return [seconds, peak() / 1e9]


def checkpointed_step(size: list[int], batch: int, threads: int) -> tuple[float, float]:
    """Seconds of the second of two steps with checkpointing in float32, and peak memory in GB of a process that does nothing else."""
    return tuple(_alone("_checkpointed_step", size, batch, threads))


def _checkpointed_step(size: list[int], batch: int, threads: int) -> list[float]:
    import network
    import torch

    torch.set_num_threads(threads)
    step = network.prepare("checkpointing", "training", "fp32", "cpu", size, batch)
    for _ in range(2):
        began = time.perf_counter()
        step()
    return [time.perf_counter() - began, peak() / 1e9]


def waits(out: Path, size: list[int], threads: int) -> tuple[float, float, int]:
    """Seconds that training by train.json waits for data with one worker, seconds of all, and how many steps.

    Ignite's events say when a batch is asked for and when it is there. The first batch of each epoch is left out, for which
    the worker starts, and so is the filling of the cache. Precision is what `amp` chooses; `STEPS` steps are looked at.
    """
    data = out / "phantom"
    subprocess.run(
        [sys.executable, "-m", "bundle", "phantom", str(data), "--cases", str(CASES), "--progress", "False"], check=True, cwd=ROOT
    )
    return tuple(_alone("_waits", str(out), size, threads))


def _waits(out: str, size: list[int], threads: int) -> list[float]:
    import torch
    from ignite.engine import Events
    from monai.bundle import ConfigParser

    torch.set_num_threads(threads)
    config = ConfigParser.load_config_files([str(ROOT / "configs" / "train.json")])
    folder = Path(out) / "training"
    config |= {"bundle_root": str(ROOT), "dataset_dir": str(Path(out) / "phantom"), "output_dir": str(folder)}
    config |= {"ckpt_dir": str(folder / "models"), "cache_dir": str(folder / "cache"), "num_workers": 1, "batch_size": BATCH}
    config |= {"patch_size": size, "val_interval": 1000}
    parser = ConfigParser(config)
    dataset = parser.get_parsed_content("train#dataset")
    for place in range(len(dataset)):
        dataset[place]  # fills the cache
    trainer = parser.get_parsed_content("train#trainer")
    clock = Clock()
    trainer.add_event_handler(Events.EPOCH_STARTED, clock.epoch)
    trainer.add_event_handler(Events.GET_BATCH_STARTED, clock.asked)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, clock.there)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, clock.stepped)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: trainer.terminate() if clock.steps == STEPS else None)
    trainer.run()
    return [clock.waiting, clock.whole, clock.steps]


def overlay_step(data: str, cache: str, overlay: str, threads: int) -> dict[str, float]:
    """What training by train.json with one overlay ("" for none) costs, with the scans of the folder `data`.

    In CPU seconds: the cache of a case, a step with its batch, and of that the batch. In GB: a case in the cache, and peak memory of a
    process that does nothing else, filling the cache and taking steps. `STEPS` / 2 steps after a first one that does not count, with no
    validation and no worker, in the precision that `amp` chooses.
    """
    filling = _alone("_fills", data, cache, overlay, threads)
    steps = _alone("_steps", data, cache, overlay, threads)
    return dict(zip(("s_cache", "gb_case", "gb_filling", "s_step", "s_batch", "gb_step", "steps"), [*filling, *steps], strict=True))


def _parser(data: str, cache: str, overlay: str, threads: int):
    """The config of a training with two scans, batches of both, and no worker."""
    import torch
    from monai.bundle import ConfigParser

    from bundle.arguments.config_files import config_path

    torch.set_num_threads(threads)
    config = ConfigParser.load_config_files([config_path("configs/train.json"), *([config_path(overlay)] if overlay else [])])
    config |= {"bundle_root": str(ROOT), "dataset_dir": data, "output_dir": f"{cache}/run", "ckpt_dir": f"{cache}/run/models"}
    config |= {"cache_dir": cache, "num_workers": 0, "val_interval": 1000, "num_folds": 1, "train_size": BATCH, "test_size": 1}
    return ConfigParser(config)


def _fills(data: str, cache: str, overlay: str, threads: int) -> list[float]:
    dataset = _parser(data, cache, overlay, threads).get_parsed_content("train#dataset")
    before = {path for path in Path(cache).iterdir() if path.is_file()}
    began = time.process_time()
    for place in range(len(dataset)):
        dataset[place]
    seconds = (time.process_time() - began) / len(dataset)
    written = sum(path.stat().st_size for path in Path(cache).iterdir() if path.is_file() and path not in before)
    return [seconds, written / len(dataset) / 1e9, peak() / 1e9]


def _steps(data: str, cache: str, overlay: str, threads: int) -> list[float]:
    from ignite.engine import Events

    trainer = _parser(data, cache, overlay, threads).get_parsed_content("train#trainer")
    clock = Clock(time.process_time)  # no epoch is told to it: only the very first batch does not count
    trainer.add_event_handler(Events.GET_BATCH_STARTED, clock.asked)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, clock.there)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, clock.stepped)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: trainer.terminate() if clock.steps == STEPS // 2 else None)
    trainer.run()
    return [clock.whole / clock.steps, clock.waiting / clock.steps, peak() / 1e9, clock.steps]


class Clock:
    """Adds up how long an Ignite engine waits for batches, and how long it takes in all, but for the first batch of each epoch."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now, self.waiting, self.whole, self.steps = now, 0.0, 0.0, 0
        self._asked = self._there = 0.0
        self._first = True

    def epoch(self) -> None:
        """An epoch begins."""
        self._first = True

    def asked(self) -> None:
        """A batch is asked for."""
        self._asked = self.now()

    def there(self) -> None:
        """It is there."""
        self._there = self.now()

    def stepped(self) -> None:
        """The step with it is done."""
        if not self._first:
            self.waiting += self._there - self._asked
            self.whole += self.now() - self._asked
            self.steps += 1
        self._first = False


def _alone(name: str, *arguments: object) -> list[float]:
    """A function of this module in a process of its own."""
    command = [sys.executable, __file__, name, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise SystemExit(f"{name} failed with {done.returncode}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print("\n" + json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
