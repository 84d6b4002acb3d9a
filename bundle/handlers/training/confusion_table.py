"""The confusion matrix of each validation as a CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.files import keep_before
from bundle.tables import read_csv, write_csv


class ConfusionTable:
    """Writes Ignite's `ConfusionMatrix` of an evaluator: a row per epoch and true class, a column per class that was found.

    A resumed training goes on in the same file, and its rows replace those of epochs that are trained again. The table of another
    training is kept under a free name (`confusion_val_before.csv`).

    Args:
        path: the CSV.
        names: the classes, in the order of the network's outputs.
        metric: name of the confusion matrix among the engine's metrics.
        resume: whether a table that is there is this training's.
    """

    def __init__(self, path: str | os.PathLike, names: Sequence[str], metric: str, *, resume: bool = False) -> None:
        self.path, self.names, self.metric = Path(path), [str(name) for name in names], metric
        self._own = resume

    def attach(self, engine: Engine) -> None:
        """Write when an evaluation is complete."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the rows of this epoch."""
        matrix = engine.state.metrics.get(self.metric)
        if matrix is None or idist.get_rank() != 0:
            return
        epoch, columns = int(engine.state.epoch), ["epoch", "class", *self.names]
        rows: list[dict[str, Any]] = [row for row in self._rows() if int(row["epoch"]) < epoch] if self._own else []
        if not self._own and self.path.is_file():
            keep_before(self.path)
        self._own = True
        for name, counts in zip(self.names, matrix.tolist(), strict=True):
            rows.append({"epoch": epoch, "class": name, **{other: int(n) for other, n in zip(self.names, counts, strict=True)}})
        write_csv(self.path, columns, rows, alone=True)

    def _rows(self) -> list[dict[str, str]]:
        return [row for row in read_csv(self.path) if row.get("epoch", "").isdigit()] if self.path.is_file() else []
