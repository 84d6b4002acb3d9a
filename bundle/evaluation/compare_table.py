"""Compared runs as a table in Markdown: the paper's Tables 1 to 3, and the paired tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bundle.errors import counted
from bundle.evaluation.compared import METRICS, SIGNIFICANT, Effect, Run, metrics_of
from bundle.evaluation.score import summarise

MEAN_AND_SD = "Mean ± standard deviation"  # in every page


def markdown(runs: Sequence[Run], structures: Sequence[str], effects: Sequence[Effect], metric: str = "dice") -> str:
    """Table 1 (mean ± sd per run, p beside those that are tested, what is significant marked), and the tests of one metric."""
    counts = [len({case for case, _ in run.rows}) for run in runs]
    # by column: with pairs a run may be tested in one and be the base in another
    tested = {(effect.structure, effect.metric, effect.column): effect.wilcoxon_holm_p for effect in effects}
    others = {effect.column for effect in effects}

    def line(title: str, cells: Sequence[str], ps: Mapping[int, str] | None = None) -> str:
        filled = [[cell, (ps or {}).get(column, "")] if column in others else [cell] for column, cell in enumerate(cells)]
        return f"| {title} | " + " | ".join(cell for pair in filled for cell in pair) + " |"

    lines = [line("", [run.name for run in runs], dict.fromkeys(others, "p")).replace("|  |", "| |", 1)]
    lines.append("| --- |" + " ---: |" * (len(runs) + len(others)))
    for structure, key, cells in _scores(runs, structures, counts):
        ps = {column: tested.get((structure, key, column)) for column in others}
        marked = {column for column, p in ps.items() if p is not None and p < SIGNIFICANT}
        cells = [f"**{cell}**" if column in marked else cell for column, cell in enumerate(cells)]
        lines.append(line(f"{structure} {METRICS[key]}", cells, {column: _p(p) for column, p in ps.items()}))
        lines += _published(runs, f"{structure} {key}", line)
    for title, cells in _networks(runs):
        lines += [line(title, cells)] if any(cells) else []
        lines += _published(runs, title.split(" of ")[0], line)
    if len(set(counts)) > 1:
        lines.append(line("cases", [str(count) for count in counts]))
    how_many = f" over {counted(counts[0], 'case')}" if len(set(counts)) == 1 else ""
    lines += ["", f"{MEAN_AND_SD}{how_many}; n where a structure is not in all of them.", ""]
    lines += ["Better: less of the distances (ASSD, HD95, mesh), more of the others.", ""]
    if effects:
        how = "p: of Wilcoxon's signed-rank test after Holm's adjustment. "
        lines += [f"{how}**Bold**: differs from the run that it is tested against, p below {SIGNIFICANT}.", ""]
        lines += _tests([effect for effect in effects if effect.metric == metric])
    return "\n".join(lines) + "\n"


def _scores(runs: Sequence[Run], structures: Sequence[str], counts: Sequence[int]) -> Iterator[tuple[str, str, list[str]]]:
    """Structure, metric and the runs' cells, a line of the table each."""
    summaries = [summarise(list(run.rows.values()))["structures"] for run in runs]
    for structure in structures:
        for key in metrics_of(runs):
            digits = 2 if key.endswith("_mm") else 3
            yield structure, key, [_cell(summary[structure][key], digits, count) for summary, count in zip(summaries, counts, strict=True)]


def _networks(runs: Sequence[Run]) -> Iterator[tuple[str, list[str]]]:
    """What is known of each run's network: a line's title, and its cells."""
    yield "parameters", [f"{run.parameters / 1e6:.2f} M" if run.parameters else "" for run in runs]
    sizes = {"x".join(map(str, run.forward_size)) for run in runs if run.forward}
    cells = [f"{run.forward:.3f} s" if run.forward else "" for run in runs]
    if len(sizes) > 1:
        cells = [f"{cell} ({'x'.join(map(str, run.forward_size))})" if cell else "" for cell, run in zip(cells, runs, strict=True)]
    yield "forward pass" + (f" of {sizes.pop()}" if len(sizes) == 1 else ""), cells
    yield "inference time per case", [f"{run.seconds:.2f} s" if run.seconds else "" for run in runs]


def _published(runs: Sequence[Run], key: str, line: Callable[..., str]) -> list[str]:
    """What a paper has for a line of the table, as the line below it; nothing where it has none."""
    if not any(key in run.published for run in runs):
        return []
    ps = {column: run.published.get(f"{key} p", "") for column, run in enumerate(runs)}
    return [line("*the paper*", [run.published.get(key, "") for run in runs], ps)]


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


def _cell(statistics: dict, digits: int, cases: int) -> str:
    if statistics["mean"] is None:
        return "- (n 0)"
    sd = "" if statistics["sd"] is None else f" ± {statistics['sd']:.{digits}f}"
    return f"{statistics['mean']:.{digits}f}{sd}" + (f" (n {statistics['n']})" if statistics["n"] != cases else "")


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
