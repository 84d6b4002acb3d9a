"""Comparing runs on the same cases: the paper's Table 1, paired tests, and the effect per case."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bundle.errors import UserError, counted
from bundle.evaluation.compare_table import MEAN_AND_SD, markdown
from bundle.evaluation.compared import METRICS, Effect, Run, metrics_of, read_run
from bundle.evaluation.paired import LOWER_IS_BETTER, holm, paired
from bundle.files import write_text
from bundle.tables import write_csv

PAGE, CSV, FIGURE = "comparison.md", "comparison.csv", "comparison.png"
VOLUME_TOLERANCE = 0.01  # relative: references of one case may differ by rounding, not by more


def compare(
    *runs: str,
    output_dir: str | os.PathLike = "comparison",
    names: Sequence[str] | str | None = None,
    metric: str = "dice",
    structures: Sequence[str] | str | None = None,
    side_by_side: bool = False,
    pairs: bool = False,
    resamples: int = 10000,
    seed: int = 0,
) -> list[Effect]:
    """Compare two or more scored runs on the same cases; the first is the one that the others are held against.

    With `side_by_side`, runs on different cases are put into one table, as the 120/30 and 30/120 splits in the paper's Table 1: tests are
    made between runs on the same cases only, each against the first of these.

    With `pairs`, the runs are given two by two, and each second one is held against the one before it, as the U-Net and its gated twin
    in the three parts of the paper's Table 3.

    Writes `comparison.md` (the paper's Table 1 and the tests), `comparison.csv` (every structure and metric) and
    `comparison.png` (the effect per case). An earlier comparison is written over, other files of these names are not.

    Args:
        runs: folders with a `metrics.csv`, or such files. `run.json` or `experiment.json` next to it may hold `parameters`,
            `seconds_per_case` and `forward` (seconds of one pass, its size).
        output_dir: gets the three files; by default `comparison` in the current folder.
        names: a name per run for the tables; the folders' names by default.
        metric: the one that figure and Markdown test: dice, precision, recall, assd_mm, hd95_mm, mesh_mm.
        structures: compare these only; all that every run has by default.
        side_by_side: take runs on different cases as well.
        pairs: test every second run against the one before it.
        resamples: number of resamples of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UserError: fewer than two runs, unequal case lists, references that differ, an unknown metric or structure, or a folder
            that holds files of these names from elsewhere.
    """
    for key, wanted in (("side_by_side", side_by_side), ("pairs", pairs)):
        if not isinstance(wanted, bool):
            raise UserError(key, f"its value is {wanted!r}", "use true or false")
    if metric not in METRICS:
        raise UserError("metric", f"'{metric}' is none of {', '.join(METRICS)}", "choose one of them")
    for key, value, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(key, f"its value is {value!r}", f"use a whole number from {least} up")
    if len(runs) < 2:
        raise UserError("compare", f"got {counted(len(runs), 'run')}", "give two folders at least: python -m bundle compare A B")
    _check_output(Path(output_dir))
    columns = [read_run(Path(run), name) for run, name in zip(map(str, runs), _names(list(map(str, runs)), names), strict=True)]
    kept = _structures(columns, _as_list(structures))
    return compare_columns(columns, kept, output_dir, metric, side_by_side=side_by_side, pairs=pairs, resamples=resamples, seed=seed)


def compare_columns(
    columns: Sequence[Run],
    structures: Sequence[str],
    output_dir: str | os.PathLike,
    metric: str = "dice",
    *,
    side_by_side: bool = False,
    pairs: bool = False,
    resamples: int = 10000,
    seed: int = 0,
) -> list[Effect]:
    """As `compare`, of runs that were read already; what a paper has (`Run.published`) stands below each of its lines.

    Raises:
        UserError: runs without a partner, unequal case lists, references that differ.
    """
    from bundle.evaluation.compare_figure import draw_effects

    if pairs and len(columns) % 2:
        raise UserError("pairs", f"{len(columns)} runs are not pairs", "give two runs for each comparison: base, other, base, other")
    together = list(range(len(columns)))
    groups = [[i, i + 1] for i in together[::2]] if pairs else _groups(columns) if side_by_side else [together]
    for group in groups if side_by_side else [together]:
        _check_cases([columns[i] for i in group])
    tested = [(group[0], other) for group in groups for other in group[1:]]
    effects = [
        _effect(columns, base, other, structure, key, resamples, seed)
        for key in metrics_of(columns)
        for base, other in tested
        for structure in structures
    ]
    effects = _adjust(effects)
    shown = [effect for effect in effects if effect.metric == metric]
    output = Path(output_dir)
    text = markdown(columns, structures, effects, metric)
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


def _groups(runs: Sequence[Run]) -> list[list[int]]:
    """The columns of the runs by the cases that they scored, in the order in which they were given."""
    groups: dict[frozenset[str], list[int]] = {}
    for column, run in enumerate(runs):
        groups.setdefault(frozenset(case for case, _ in run.rows), []).append(column)
    return list(groups.values())


def _names(runs: Sequence[str], names: Sequence[str] | str | None) -> list[str]:
    found = _as_list(names) or [Path(run).resolve().name if Path(run).is_dir() else Path(run).resolve().parent.name for run in runs]
    if len(found) != len(runs):
        raise UserError("names", f"{counted(len(found), 'name')} for {counted(len(runs), 'run')}", "give one per run, separated by commas")
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


def _effect(columns: Sequence[Run], first: int, second: int, structure: str, metric: str, resamples: int, seed: int) -> Effect:
    """Of the runs in two columns. Pairs are the cases in which both have a value."""
    base, other = columns[first], columns[second]
    pairs: dict[str, tuple[float, float]] = {}
    for case in (case for case, name in base.rows if name == structure):
        one, two = (run.rows[case, structure][metric] for run in (base, other))
        if one is not None and two is not None:
            pairs[case] = one, two
    ours, theirs = [[pair[index] for pair in pairs.values()] for index in (0, 1)]
    statistics = paired(ours, theirs, lower_is_better=metric in LOWER_IS_BETTER, resamples=resamples, seed=seed)
    return Effect(structure, metric, base.name, other.name, statistics, {case: b - a for case, (a, b) in pairs.items()}, second)


def _adjust(effects: list[Effect]) -> list[Effect]:
    """With Holm's adjustment over the structures and runs of each metric."""
    adjusted: dict[int, float | None] = {}
    for metric in METRICS:
        mine = [effect for effect in effects if effect.metric == metric]
        adjusted.update(zip(map(id, mine), holm([effect.statistics.wilcoxon_p for effect in mine]), strict=True))
    return [replace(effect, wilcoxon_holm_p=adjusted[id(effect)]) for effect in effects]


def _write_csv(effects: Sequence[Effect], path: Path) -> None:
    rows = [{key: value for key, value in asdict(effect).items() if key not in ("statistics", "differences")} for effect in effects]
    rows = [{**row, **asdict(effect.statistics)} for row, effect in zip(rows, effects, strict=True)]
    write_csv(path, list(rows[0]), rows)
