"""Comparing runs on the same cases: the paper's Table 1, paired tests, and the effect per case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bundle.errors import UserError
from bundle.evaluation.paired import LOWER_IS_BETTER, Paired, holm, paired
from bundle.evaluation.score import read_metrics, summarise
from bundle.files import write_text
from bundle.json_input import read_object
from bundle.results import outputs
from bundle.tables import write_csv

METRICS = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "assd_mm": "ASSD (mm)",
    "hd95_mm": "HD95 (mm)",
    "mesh_mm": "mesh distance (mm)",
}
PAGE, CSV, FIGURE = "comparison.md", "comparison.csv", "comparison.png"
MEAN_AND_SD = "Mean ± standard deviation"  # in every page
SIGNIFICANT = 0.05  # of the adjusted p, marked in the table
VOLUME_TOLERANCE = 0.01  # relative: references of one case may differ by rounding, not by more


@dataclass(frozen=True)
class Run:
    """One column of the table: scores by (case, structure), and what is known of the network."""

    name: str
    rows: dict[tuple[str, str], dict]
    parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Effect:
    """One paired comparison: structure, metric, the two runs, the statistics, the differences by case."""

    structure: str
    metric: str
    base: str
    other: str
    statistics: Paired
    differences: dict[str, float]
    wilcoxon_holm_p: float | None = None


def compare(
    *runs: str,
    output_dir: str | os.PathLike = "comparison",
    names: Sequence[str] | str | None = None,
    metric: str = "dice",
    structures: Sequence[str] | str | None = None,
    side_by_side: bool = False,
    resamples: int = 10000,
    seed: int = 0,
) -> list[Effect]:
    """Compare two or more scored runs on the same cases; the first is the one that the others are held against.

    With `side_by_side`, runs on different cases are put into one table, as the 120/30 and 30/120 splits in the paper's Table 1: tests are
    made between runs on the same cases only, each against the first of these.

    Writes `comparison.md` (the paper's Table 1 and the tests), `comparison.csv` (every structure and metric) and
    `comparison.png` (the effect per case). An earlier comparison is written over, other files of these names are not.

    Args:
        runs: folders with a `metrics.csv`, or such files. `run.json` or `experiment.json` next to it may hold `parameters`
            and `seconds_per_case`.
        output_dir: gets the three files; by default `comparison` in the current folder.
        names: a name per run for the tables; the folders' names by default.
        metric: the one that figure and Markdown test: dice, precision, recall, assd_mm, hd95_mm, mesh_mm.
        structures: compare these only; all that every run has by default.
        side_by_side: take runs on different cases as well.
        resamples, seed: of the bootstrap.

    Raises:
        UserError: fewer than two runs, unequal case lists, references that differ, an unknown metric or structure, or a folder
            that holds files of these names from elsewhere.
    """
    from bundle.evaluation.compare_figure import draw_effects

    if not isinstance(side_by_side, bool):
        raise UserError("side_by_side", f"its value is {side_by_side!r}", "use true or false")
    if metric not in METRICS:
        raise UserError("metric", f"'{metric}' is none of {', '.join(METRICS)}", "choose one of them")
    for key, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(key, f"its value is {value!r}", f"use a whole number from {least} up")
    if len(runs) < 2:
        raise UserError("compare", f"got {len(runs)} runs", "give two folders at least: python -m bundle compare A B")
    output = Path(output_dir)
    _check_output(output)
    columns = [_read_run(Path(run), name) for run, name in zip(map(str, runs), _names(list(map(str, runs)), names), strict=True)]
    groups = _groups(columns) if side_by_side else [columns]
    for group in groups:
        _check_cases(group)
    kept = _structures(columns, _as_list(structures))
    pairs = [(group[0], other) for group in groups for other in group[1:]]
    effects = [
        _effect(base, other, structure, key, resamples, seed) for key in _metrics(columns) for base, other in pairs for structure in kept
    ]
    effects = _adjust(effects)
    shown = [effect for effect in effects if effect.metric == metric]
    text = markdown(columns, kept, effects, metric)
    table, figure = output / CSV, output / FIGURE
    write_text(output / PAGE, text)
    for earlier in (table, figure):
        earlier.unlink(missing_ok=True)
    if shown:
        _write_csv(effects, table)
        draw_effects(shown, METRICS[metric], figure)
    print(text + f"\nwritten: {', '.join([PAGE, *([CSV, FIGURE] if shown else [])])} in {output.resolve()}")
    return effects


def _check_output(folder: Path) -> None:
    """Refuse a folder in which the names of the three files are taken by something else than a comparison."""
    page, others = folder / PAGE, [folder / name for name in (PAGE, CSV, FIGURE) if os.path.lexists(folder / name)]
    own = page.is_file() and MEAN_AND_SD in page.read_text(encoding="utf-8", errors="replace")
    if others and not own:
        raise UserError(others[0], "this file is not of an earlier comparison", "name another folder with --output_dir")


def markdown(runs: Sequence[Run], structures: Sequence[str], effects: Sequence[Effect], metric: str = "dice") -> str:
    """Table 1 (mean ± sd per run, what differs significantly marked) and the paired tests of one metric, in Markdown."""
    lines = ["| | " + " | ".join(run.name for run in runs) + " |", "| --- |" + " ---: |" * len(runs)]
    counts = [len({case for case, _ in run.rows}) for run in runs]
    summaries = [summarise(list(run.rows.values()))["structures"] for run in runs]
    marked = {(e.structure, e.metric, e.other) for e in effects if e.wilcoxon_holm_p is not None and e.wilcoxon_holm_p < SIGNIFICANT}
    for structure in structures:
        for key in _metrics(runs):
            digits = 2 if key.endswith("_mm") else 3
            cells = [_cell(summary[structure][key], digits, count) for summary, count in zip(summaries, counts, strict=True)]
            cells = [f"**{cell}**" if (structure, key, run.name) in marked else cell for cell, run in zip(cells, runs, strict=True)]
            lines.append(f"| {structure} {METRICS[key]} | " + " | ".join(cells) + " |")
    if any(run.parameters for run in runs):
        cells = [f"{run.parameters / 1e6:.2f} M" if run.parameters else "" for run in runs]
        lines.append("| parameters | " + " | ".join(cells) + " |")
    if any(run.seconds for run in runs):
        cells = [f"{run.seconds:.2f} s" if run.seconds else "" for run in runs]
        lines.append("| inference time per case | " + " | ".join(cells) + " |")
    if len(set(counts)) > 1:
        lines.append("| cases | " + " | ".join(map(str, counts)) + " |")
    how_many = f" over {counts[0]} cases" if len(set(counts)) == 1 else ""
    lines += [
        "",
        f"{MEAN_AND_SD}{how_many}; n where a structure is not in all of them.",
        "",
        "Better: less of the distances (ASSD, HD95, mesh), more of the others.",
        "",
    ]
    if effects:
        tested = f"**Bold**: differs from the run that it is tested against, Wilcoxon p after Holm's adjustment below {SIGNIFICANT}."
        lines += [tested, "", *_tests([effect for effect in effects if effect.metric == metric])]
    return "\n".join(lines) + "\n"


def _tests(effects: Sequence[Effect]) -> list[str]:
    """The paired tests as a table in Markdown, a line each."""
    lines = ["| | against | n | mean difference [95 % interval] | better / worse | Wilcoxon p (Holm) | t test p |"]
    lines += ["| --- | --- | ---: | --- | ---: | --- | --- |"]
    for effect in effects:
        found = effect.statistics
        interval = "" if found.low is None else f" [{found.low:+.4f}, {found.high:+.4f}]"
        mean = "-" if found.mean_difference is None else f"{found.mean_difference:+.4f}{interval}"
        adjusted = "" if effect.wilcoxon_holm_p is None else f" ({_p(effect.wilcoxon_holm_p)})"
        lines.append(
            f"| {effect.structure} {METRICS[effect.metric]}: {effect.other} | {effect.base} | {found.n} | {mean} "
            f"| {found.better} / {found.worse} | {_p(found.wilcoxon_p)}{adjusted} | {_p(found.t_p)} |"
        )
    return lines


def _metrics(runs: Sequence[Run]) -> list[str]:
    """The metrics that any run has; tables of earlier versions have no mesh distance."""
    return [key for key in METRICS if key != "mesh_mm" or any(row[key] is not None for run in runs for row in run.rows.values())]


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs by the cases that they scored, in the order in which they were given."""
    groups: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        groups.setdefault(frozenset(case for case, _ in run.rows), []).append(run)
    return list(groups.values())


def _read_run(path: Path, name: str) -> Run:
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
    numbers = [known.get(key) for key in ("parameters", "seconds_per_case")]
    return Run(name, rows, *(value if isinstance(value, (int, float)) else None for value in numbers))


def _names(runs: Sequence[str], names: Sequence[str] | str | None) -> list[str]:
    found = _as_list(names) or [Path(run).resolve().name if Path(run).is_dir() else Path(run).resolve().parent.name for run in runs]
    if len(found) != len(runs):
        raise UserError("names", f"{len(found)} names for {len(runs)} runs", "give one per run, separated by commas")
    return [name if found.count(name) == 1 else str(run) for name, run in zip(found, runs, strict=True)]


def _as_list(items: Sequence[str] | str | None) -> list[str]:
    if items is None:
        return []
    return [item.strip() for item in items.split(",")] if isinstance(items, str) else [str(item) for item in items]


def _check_cases(runs: Sequence[Run]) -> None:
    """Refuse runs that did not score the same cases against the same references."""
    first = runs[0]
    for other in runs[1:]:
        ours, theirs = ({case for case, _ in run.rows} for run in (first, other))
        if ours != theirs:
            sides = [(first.name, ours - theirs), (other.name, theirs - ours)]
            text = "; ".join(f"only in {name}: {', '.join(sorted(alone)[:10])} ({len(alone)})" for name, alone in sides if alone)
            fix = "score the same cases in every run, or give --side_by_side to have both in one table"
            raise UserError(other.name, f"scores other cases than {first.name} ({text})", fix)
        lost = sorted((case, name) for case, name in first.rows.keys() ^ other.rows.keys() if _has(first, name) and _has(other, name))
        if lost:
            problem = f"case {lost[0][0]} has a row for {lost[0][1]} in one of {first.name} and {other.name} only"
            raise UserError(other.name, problem, "score every run with the same labels")
        for key in first.rows.keys() & other.rows.keys():
            volumes = [run.rows[key]["reference_ml"] for run in (first, other)]
            if abs(volumes[0] - volumes[1]) > VOLUME_TOLERANCE * max(volumes):
                problem = f"case {key[0]}, {key[1]}: its reference has {volumes[1]:g} ml, in {first.name} {volumes[0]:g} ml"
                raise UserError(other.name, problem, "score every run against the same references")


def _has(run: Run, structure: str) -> bool:
    return any(name == structure for _, name in run.rows)


def _structures(runs: Sequence[Run], wanted: Sequence[str]) -> list[str]:
    of_each = [list(dict.fromkeys(structure for _, structure in run.rows)) for run in runs]
    common = [name for name in of_each[0] if all(name in mine for mine in of_each)]
    unknown = [name for name in wanted if name not in common]
    if unknown or not common:
        problem = f"not in every run: {', '.join(unknown)}" if unknown else "no structure is in every run"
        raise UserError("structures", problem, f"choose of: {', '.join(common)}" if common else "score the same structures")
    left = sorted({name for mine in of_each for name in mine} - set(common))
    if left and not wanted:
        print(f"Not compared, because not every run has them: {', '.join(left)}")
    return [name for name in common if not wanted or name in wanted]


def _effect(base: Run, other: Run, structure: str, metric: str, resamples: int, seed: int) -> Effect:
    """Pairs are the cases in which both runs have a value."""
    pairs = {}
    for case, name in base.rows:
        values = [run.rows[case, name][metric] for run in (base, other)] if name == structure else [None]
        if None not in values:
            pairs[case] = values
    ours, theirs = [[pair[index] for pair in pairs.values()] for index in (0, 1)]
    statistics = paired(ours, theirs, lower_is_better=metric in LOWER_IS_BETTER, resamples=resamples, seed=seed)
    return Effect(structure, metric, base.name, other.name, statistics, {case: b - a for case, (a, b) in pairs.items()})


def _adjust(effects: list[Effect]) -> list[Effect]:
    """With Holm's adjustment over the structures and runs of each metric."""
    adjusted = {}
    for metric in METRICS:
        mine = [effect for effect in effects if effect.metric == metric]
        adjusted.update(zip(map(id, mine), holm([effect.statistics.wilcoxon_p for effect in mine]), strict=True))
    return [replace(effect, wilcoxon_holm_p=adjusted[id(effect)]) for effect in effects]


def _write_csv(effects: Sequence[Effect], path: Path) -> None:
    rows = [{key: value for key, value in asdict(effect).items() if key not in ("statistics", "differences")} for effect in effects]
    rows = [{**row, **asdict(effect.statistics)} for row, effect in zip(rows, effects, strict=True)]
    write_csv(path, list(rows[0]), rows)


def _cell(statistics: dict, digits: int, cases: int) -> str:
    if statistics["mean"] is None:
        return "- (n 0)"
    sd = "" if statistics["sd"] is None else f" ± {statistics['sd']:.{digits}f}"
    return f"{statistics['mean']:.{digits}f}{sd}" + (f" (n {statistics['n']})" if statistics["n"] != cases else "")


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
