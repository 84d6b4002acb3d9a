"""What MONAI's `--tracking mlflow` leaves out: the settings of a run, the figures of every case and structure, the files."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.arguments.config import current
from bundle.arguments.paths import NEEDED, OPTIONAL
from bundle.arguments.values import KINDS
from bundle.tables import read_csv

# MLflow's limits: entries of one request, characters of a value, characters that a name may have
BATCH, LONGEST = 500, 500
FOREIGN = re.compile(r"[^\w.\- ]")
# columns of the tables that say which row it is; every other number is a figure of its case and structure
NAMES = ("case", "structure")


class Tracking:
    """Adds to each run that MONAI's `MLFlowHandler` tracks, and does nothing without one.

    Parameters are the keys at the top of the config, as they are used. `write` adds tables and files. Attach it to a trainer or to the
    engine of inference; MONAI puts its own handler behind the others.

    Args:
        output_dir: folder of the run; MONAI writes the config of the run there.
        tables: names of CSV files in it with a row per case and structure: each number becomes the metric `case/structure/column`.
        files: names of files and folders in it that are kept as artifacts; patterns such as `*.png` are files.
    """

    def __init__(self, output_dir: str | os.PathLike, tables: Sequence[str] = (), files: Sequence[str] = ()) -> None:
        self.output_dir, self.tables, self.files = Path(output_dir), tuple(tables), tuple(files)
        self.parameters = settings()
        self.engine: Engine | None = None
        self.tracked: tuple[Any, str] | None = None  # client, id of the run
        self.began = time.time()

    def attach(self, engine: Engine) -> None:
        """Note the settings when MONAI's handler has begun its run; write the rest when the engine is done."""
        self.engine = engine
        engine.add_event_handler(Events.EPOCH_STARTED, self.begin)
        # the engine of inference ends with an event of its own, when the tables are written
        last = next((event for event in engine._allowed_events if getattr(event, "value", "") == "run_finished"), Events.COMPLETED)
        engine.add_event_handler(last, self.write)

    def begin(self, engine: Engine) -> None:
        """Log the parameters that the run does not have yet."""
        tracker = next((found for found in _handlers(engine) if _is_tracker(found) and found.cur_run is not None), None)
        if tracker is None or (self.tracked and self.tracked[1] == tracker.cur_run.info.run_id):
            return
        self.tracked = tracker.client, tracker.cur_run.info.run_id
        there = tracker.client.get_run(self.tracked[1]).data.params
        self._log(params=[(key, str(value)[:LONGEST]) for key, value in self.parameters.items() if key not in there])

    def write(self, engine: Engine | None = None) -> None:
        """Log the figures and files that are in the folder now."""
        if self.tracked is None or idist.get_rank() != 0:
            return
        now = int(time.time() * 1000)
        for name in self.tables:
            if (self.output_dir / name).is_file():
                found = list(figures(read_csv(self.output_dir / name)))
                self._log(metrics=[(key, value, now, 0) for key, value in (*found, *means(found))])
        # MONAI logs the config where output_dir is an expression, but not where it was typed
        configs = [path for path in self.output_dir.glob("config_*.json") if path.stat().st_mtime > self.began - 60]
        client, run = self.tracked
        for path in [*(path for name in (*self.tables, *self.files) for path in sorted(self.output_dir.glob(name))), *configs]:
            if path.is_dir():
                client.log_artifacts(run, str(path), path.name)
            elif path.is_file():
                client.log_artifact(run, str(path))

    def _log(self, metrics: Sequence[tuple] = (), params: Sequence[tuple] = ()) -> None:
        from mlflow.entities import Metric, Param

        assert self.tracked is not None
        client, run = self.tracked
        for start in range(0, len(metrics), BATCH):
            client.log_batch(run, metrics=[Metric(*values) for values in metrics[start : start + BATCH]])
        for start in range(0, len(params), BATCH // 5):
            client.log_batch(run, params=[Param(*values) for values in params[start : start + BATCH // 5]])


def log_scores(handlers: Sequence[Any], tables: Sequence[str] = ("metrics.csv",), files: Sequence[str] = ("summary.json",)) -> None:
    """Log what was written after the engine was done, such as the scores of an evaluation, to the run of its `Tracking`."""
    for handler in handlers:
        if isinstance(handler, Tracking):
            after = Tracking.__new__(Tracking)
            after.__dict__.update(handler.__dict__, tables=tuple(tables), files=tuple(files))
            after.write()


def settings() -> dict[str, Any]:
    """Keys at the top of the config that MONAI is evaluating that users are meant to set, with the values that are used."""
    parser = current()
    if parser is None or not isinstance(parser.config, dict):
        return {}
    used = parser.ref_resolver.resolved_content
    found = {key: used.get(key, parser.config[key]) for key in (*KINDS, *NEEDED, *OPTIONAL) if key in parser.config}
    return {key: value for key, value in found.items() if not (isinstance(value, str) and value.startswith(("$", "@", "%")))}


def figures(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, float]]:
    """(`case/structure/column`, number) of every cell that is a finite number."""
    for row in rows:
        names = [FOREIGN.sub("_", row[name]) for name in NAMES if row.get(name)]
        for column, cell in row.items():
            if column not in NAMES and (value := _number(cell)) is not None:
                yield "/".join([*names, FOREIGN.sub("_", column)])[:250], value


def means(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """(`mean/structure/column`, mean over the cases that have the figure), to compare runs by."""
    over: dict[str, list[float]] = {}
    for name, value in found:
        over.setdefault("/".join(["mean", *name.split("/")[1:]]), []).append(value)
    return [(name, math.fsum(values) / len(values)) for name, values in over.items()]


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _handlers(engine: Engine) -> Iterator[Any]:
    """The objects whose methods an engine calls when it starts."""
    for handler, *_ in engine._event_handlers[Events.STARTED]:
        owner = getattr(handler, "__self__", None)
        if owner is not None:
            yield owner


def _is_tracker(handler: Any) -> bool:
    """Whether it is MONAI's `MLFlowHandler` or a kind of it, without importing MLflow."""
    return any(kind.__name__ == "MLFlowHandler" for kind in type(handler).__mro__)
