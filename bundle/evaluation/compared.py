"""What is compared: the scores of runs, and the effects between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundle.errors import UserError
from bundle.evaluation.paired import Paired
from bundle.evaluation.score import read_metrics
from bundle.json_input import read_object
from bundle.results import outputs

METRICS = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "assd_mm": "ASSD (mm)",
    "hd95_mm": "HD95 (mm)",
    "mesh_mm": "mesh distance (mm)",
}
SIGNIFICANT = 0.05  # of the adjusted p, marked in the table


@dataclass(frozen=True)
class Run:
    """One column of the table: scores by (case, structure), and what is known of the network."""

    name: str
    rows: dict[tuple[str, str], dict]
    parameters: int | None = None
    seconds: float | None = None
    forward: float | None = None
    forward_size: tuple[int, ...] = ()
    published: Mapping[str, str] = field(default_factory=dict)  # line of the table to what a paper has there


@dataclass(frozen=True)
class Effect:
    """One paired comparison: structure, metric, the two runs, the statistics, the differences by case, and the column of the other run."""

    structure: str
    metric: str
    base: str
    other: str
    statistics: Paired
    differences: dict[str, float]
    column: int
    wilcoxon_holm_p: float | None = None


def read_run(path: Path, name: str) -> Run:
    """The scores of a run from its folder or `metrics.csv`, and what is known of its network.

    Raises:
        UserError: there is no such table, or it has a case twice.
    """
    table = path / "metrics.csv" if path.is_dir() else path
    rows: dict[tuple[str, str], dict] = {}
    for row in read_metrics(table):
        if (row["case"], row["structure"]) in rows:
            raise UserError(table, f"has two rows of case {row['case']}, {row['structure']}", "score the run again")
        rows[row["case"], row["structure"]] = row
    known: dict = {}
    for candidate in (outputs.RECORD, "experiment.json"):
        if (table.parent / candidate).is_file():
            known.update(read_object(table.parent / candidate, '{"parameters": ..., "seconds_per_case": ...}'))
    timed = known.get("forward")
    forward = timed if isinstance(timed, dict) else {}
    parameters, seconds, passes = (
        value if isinstance(value, (int, float)) else None
        for value in (known.get("parameters"), known.get("seconds_per_case"), forward.get("seconds"))
    )
    size = tuple(int(length) for length in forward.get("size", ()))
    return Run(name, rows, None if parameters is None else int(parameters), seconds, passes, size)


def metrics_of(runs: Sequence[Run]) -> list[str]:
    """The metrics that any run has; tables of earlier versions have no mesh distance."""
    return [key for key in METRICS if key != "mesh_mm" or any(row[key] is not None for run in runs for row in run.rows.values())]
