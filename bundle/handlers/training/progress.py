"""What a person watching the training sees."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.handlers import from_engine
from tqdm import tqdm

from bundle.errors import counted


class Progress:
    """A progress bar over the whole training, a line in plain words after each validation, and at the end what was written where.

    Without a terminal (log files, CI) only the lines are printed, one per epoch, with date and time. Ignite's `ProgressBar` shows
    one bar per epoch, knows no time left for the training, and fills log files with carriage returns.

    Args:
        evaluators: prefix to engine; `<prefix>_dice` and `<prefix>_dice_<structure>` of its metrics are shown.
        stream: where to write; None is standard error.
        output_dir: folder of the training's tables and pictures, named at the end.
        weights: the file of the best weights, named at the end.
        measure: what the evaluators measure, as people call it: the metrics are `<prefix>_<measure>` in lower case with `_`, and
            `<prefix>_<part>_<name>`, where the part is the last word of the measure.
    """

    def __init__(
        self,
        evaluators: Mapping[str, Engine] | None = None,
        stream: Any = None,
        output_dir: str | os.PathLike | None = None,
        weights: str | os.PathLike | None = None,
        measure: str = "Dice",
    ) -> None:
        self.measure = measure
        self.evaluators, self.stream, self.output_dir, self.weights = dict(evaluators or {}), stream, output_dir, weights
        self._loss_of = from_engine(["loss"], first=True)
        self._bar: tqdm | None = None
        self._losses: list[float] = []
        self._started, self._begun_at = 0.0, 0

    def attach(self, engine: Engine) -> None:
        """Show on rank 0."""
        if idist.get_rank() != 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.report)
        engine.add_event_handler(Events.COMPLETED, self.close)
        if self.output_dir or self.weights:
            engine.add_event_handler(Events.COMPLETED, self.summary)
        engine.add_event_handler(Events.TERMINATE, self.close)

    def start(self, engine: Engine) -> None:
        """Open the bar with the first epoch, when a resumed training already knows where it is."""
        self._losses = []
        if self._started == 0:
            self._started, self._begun_at = time.perf_counter(), engine.state.epoch - 1
            stream = self.stream or sys.stderr
            if getattr(stream, "isatty", lambda: False)():
                epochs, length = engine.state.max_epochs, engine.state.epoch_length
                total = None if epochs is None or length is None else epochs * length
                self._bar = tqdm(total=total, initial=engine.state.iteration, unit="step", desc="training", file=stream, dynamic_ncols=True)

    def step(self, engine: Engine) -> None:
        """One step further."""
        self._losses.append(float(self._loss_of(engine.state.output)))
        if self._bar is not None:
            self._bar.set_postfix(epoch=f"{engine.state.epoch}/{engine.state.max_epochs}", loss=f"{self._losses[-1]:.3f}", refresh=False)
            self._bar.update()

    def report(self, engine: Engine) -> None:
        """One line: epoch, loss, Dice where there was a validation, time left."""
        validated = {prefix: found for prefix, found in self.evaluators.items() if found.state.epoch == engine.state.epoch}
        if self._bar is not None and not validated:
            return
        loss = math.fsum(self._losses) / max(len(self._losses), 1)
        parts = [f"epoch {engine.state.epoch}/{engine.state.max_epochs}", f"loss {loss:.3f}"]
        parts += [_measured(prefix, self.measure, evaluator.state.metrics) for prefix, evaluator in validated.items()]
        done, epochs = engine.state.epoch - self._begun_at, engine.state.max_epochs
        assert epochs is not None, "MONAI's trainers have a number of epochs"
        left = (time.perf_counter() - self._started) / max(done, 1) * (epochs - engine.state.epoch)
        parts.append(f"{duration(left)} left" if left > 0 else "done")
        line = "  ".join(part for part in parts if part)
        if self._bar is not None:
            self._bar.write(line, file=self.stream or sys.stderr)
        else:
            print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}", file=self.stream or sys.stderr, flush=True)

    def summary(self, engine: Engine) -> None:
        """Say what was written where, and what to look at next."""
        lines = (
            [f"trained: {counted(engine.state.epoch, 'epoch')}, in this run {duration(time.perf_counter() - self._started)}"]
            if self._started
            else []
        )
        best = getattr(self.evaluators.get("val"), "state", None)
        epoch = getattr(best, "best_metric_epoch", -1)
        said = (
            f"best validation {self.measure} {best.best_metric:.3f}, in epoch {epoch}"
            if best is not None and epoch != -1
            else "not validated"
        )
        lines += [f"weights: {self.weights} ({said})"] if self.weights and Path(self.weights).is_file() else []
        if self.output_dir:
            folder = Path(self.output_dir)
            parts = {
                "training.csv": f"{self.measure}, loss and learning rate of every epoch",
                "previews": "pictures of validation cases",
                "last.pt": "state of the last epoch, for --resume True",
            }
            lines += [f"  {folder / name}: {what}" for name, what in parts.items() if (folder / name).exists()]
            lines += [f"look at {folder / 'previews'} next"] if (folder / "previews").exists() else []
        print("\n".join(lines), file=self.stream or sys.stderr, flush=True)

    def close(self, engine: Engine) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3 h 20 min."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _measured(prefix: str, measure: str, metrics: Mapping[str, Any]) -> str:
    mean = metrics.get(f"{prefix}_{measure.lower().replace(' ', '_')}")
    if not isinstance(mean, float):
        return ""
    start = f"{prefix}_{measure.lower().split()[-1]}_"
    each = {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
    shown = [f"{name} {value:.2f}" for name, value in each.items() if isinstance(value, float)]
    return f"{prefix} {measure} {mean:.3f} ({', '.join(shown)})"
