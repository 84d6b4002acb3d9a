"""A CSV with one row per epoch."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.handlers import from_engine

from bundle import labels as label_block
from bundle.files import keep_before
from bundle.tables import read_csv, write_csv


class EpochTable:
    """Writes `training.csv`: epoch, losses, Dice per structure, learning rate and seconds, a row per epoch.

    Cells of epochs without validation, and of structures that no validation case has, are empty. A resumed training goes
    on in the same file, and its rows replace those of epochs that are trained again. The file is whole at any time. What is there of
    another training, or cannot be read, is kept under a free name. MONAI's handlers print such values (`StatsHandler`) or send them to
    TensorBoard; none writes a table per epoch.

    Columns: epoch, train_loss, then for each evaluator, here `val`: val_loss, val_dice (mean over structures and cases),
    val_dice_<structure> ..., then learning_rate, train_seconds, patches_per_second (of all processes), the seconds of each evaluator
    (`val_seconds`), and seconds: the whole epoch, whatever else happened in it. Attach it after validation.

    Args:
        path: the CSV.
        labels: the `labels` block.
        optimizer: its first group's learning rate is written.
        evaluators: prefix to engine whose metrics are `<prefix>_loss`, `<prefix>_dice` and `<prefix>_dice_<structure>`.
        measures: other metrics in the place of these, named without the prefix, such as `loss`, `accuracy`; `labels` is then not needed.
    """

    def __init__(
        self,
        path: str,
        labels: label_block.Labels | None = None,
        optimizer: Any = None,
        evaluators: Mapping[str, Engine] | None = None,
        measures: Sequence[str] | None = None,
    ) -> None:
        self.path, self.optimizer = Path(path), optimizer
        # an evaluator without cases, as the test engine has by default, gets no columns
        self.evaluators = {prefix: engine for prefix, engine in (evaluators or {}).items() if engine.state.epoch_length != 0}
        self.columns = ["epoch", "train_loss"]
        for prefix in self.evaluators:
            found = ["loss", "dice", *(name.removeprefix("_") for name in dice_names(labels or {}, ""))] if measures is None else measures
            self.columns += [f"{prefix}_{name}" for name in found]
        self.columns += [
            "learning_rate",
            "train_seconds",
            "patches_per_second",
            *(f"{prefix}_seconds" for prefix in self.evaluators),
            "seconds",
        ]
        self._loss_of = from_engine(["loss"], first=True)
        self._losses: list[float] = []
        self._patches, self._own = 0, False
        self._started, self._trained, self._rate = 0.0, 0.0, math.nan
        self._evaluations: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Collect losses while an epoch runs, write when it is complete."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        for prefix, evaluator in self.evaluators.items():
            evaluator.add_event_handler(Events.STARTED, self._start_evaluation, prefix)
            evaluator.add_event_handler(Events.COMPLETED, self._end_evaluation, prefix)

    def start(self, engine: Engine) -> None:
        """Begin an epoch's row."""
        self._losses, self._patches, self._started, self._evaluations = [], 0, time.perf_counter(), {}
        self._trained = self._started
        if self.optimizer is not None:
            self._rate = float(self.optimizer.param_groups[0]["lr"])

    def collect(self, engine: Engine) -> None:
        """Note the loss of one iteration, and how many patches it had."""
        batch = engine.state.batch
        self._patches += len(batch["image"]) if isinstance(batch, Mapping) and "image" in batch else 0
        self._losses.append(float(self._loss_of(engine.state.output)))
        self._trained = time.perf_counter()

    def _start_evaluation(self, prefix: str) -> None:
        self._evaluations[prefix] = -time.perf_counter()

    def _end_evaluation(self, prefix: str) -> None:
        self._evaluations[prefix] += time.perf_counter()

    def write(self, engine: Engine) -> None:
        """Add the epoch's row; every rank takes part in the mean, rank 0 writes."""
        loss, patches = math.fsum(self._losses) / max(len(self._losses), 1), float(self._patches)
        if idist.get_world_size() > 1:
            loss, patches = float(idist.all_reduce(loss)) / idist.get_world_size(), float(idist.all_reduce(patches))
        if idist.get_rank() != 0:
            return
        row: dict[str, Any] = {"epoch": engine.state.epoch, "train_loss": loss, "learning_rate": self._rate}
        row["seconds"] = round(time.perf_counter() - self._started, 2)
        row["train_seconds"] = round(self._trained - self._started, 2)
        row["patches_per_second"] = round(patches / (self._trained - self._started), 3) if patches else math.nan
        row |= {f"{prefix}_seconds": round(seconds, 2) for prefix, seconds in self._evaluations.items() if seconds >= 0}
        for evaluator in self.evaluators.values():
            # an engine keeps its metrics: only those of this epoch belong in this row
            if evaluator.state.epoch == engine.state.epoch:
                row.update({name: value for name, value in evaluator.state.metrics.items() if name in self.columns})
        try:
            rows = [old for old in read_table(self.path) if int(old["epoch"]) < engine.state.epoch]
        except (OSError, ValueError, csv.Error):
            rows = []
        if not rows and not self._own and self.path.is_file():
            # of an earlier training, whose state is kept as well (`TrainingState`), or saved by another program in a way of its own
            keep_before(self.path)
        self._own = True
        table = [{name: _cell(value) for name, value in one.items()} for one in (*rows, row)]
        write_csv(self.path, self.columns, table, alone=True)


def dice_names(labels: label_block.Labels, prefix: str) -> list[str]:
    """Names of the Dice metrics per structure, `<prefix>_dice_<structure>`: columns of the table, curves in TensorBoard."""
    return [f"{prefix}_dice_{name}" for name in label_block.names(labels)[1:]]


def read_table(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table that `EpochTable` wrote, as text; empty where there is none yet."""
    if not Path(path).is_file():
        return []
    return [row for row in read_csv(path) if row.get("epoch", "").isdigit()]


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
