"""Scoring a folder of label maps against references: `metrics.csv`, `summary.json` and a table on the console."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from bundle import grids
from bundle.data import label_maps
from bundle.data.scans.case_names import case_name
from bundle.errors import UserError
from bundle.files import write_json
from bundle.labels import Labels, resolve
from bundle.labels import names as label_names
from bundle.labels import values as label_values
from bundle.limits import cpu_limit, memory_available
from bundle.metrics import COLUMNS, score_case
from bundle.results import outputs
from bundle.tables import read_csv, write_csv

Files = str | os.PathLike | Iterable[str | os.PathLike] | Mapping[str, str | os.PathLike]
# columns of the console's table: heading, digits
SHOWN = {
    "dice": ("Dice", 3),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "assd_mm": ("ASSD mm", 2),
    "hd95_mm": ("HD95 mm", 2),
    "mesh_mm": ("mesh mm", 2),
}
CHANNEL = "_0000"  # nnU-Net's images: case_0000.nii.gz, and case.nii.gz is the label
BYTES_PER_VOXEL = 12  # of one case while it is scored: two maps as they are stored, two masks, one copy


def score(
    predictions: Files,
    references: Files,
    output_dir: str | os.PathLike,
    labels: Labels | str | None = None,
    *,
    cases: Sequence[str] | None = None,
    labelled: Mapping[str, Sequence[str]] | None = None,
    allow_missing: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict:
    """Score label maps, the bundle's or any other tool's, against references; write `metrics.csv` and `summary.json`.

    Files belong together by name: `<case>_seg.nii.gz`, `<case>.seg.nrrd` or `<case>.nii.gz` on either side; where that finds no
    partner, without nnU-Net's channel number `_0000`, and as inference names its results (`p1/a b.nii.gz`: `p1_a_b`). Maps that
    store the same voxels in another axis order are brought to the reference's; maps on other grids are refused before anything is
    scored.

    The table is of all cases: one that is on one side only is an error that names it, and nothing is written. Voxels that the
    reference marks with nnU-Net's label `ignore` are left out: what the prediction holds there counts as background.

    Args:
        predictions: a folder (searched recursively), a file, a list of files, or files by case name.
        references: the same, of the label maps that the predictions are held against.
        output_dir: gets the two files.
        labels: the `labels` block, or a JSON file that has one; without it `labels.json` or else `dataset.json` next to the
            references, else the block of `configs/inference.json`.
        cases: score these only (a validation split); each must be there on both sides.
        labelled: of partly labelled cases, by name, the structures that their references have; the others are not scored.
        allow_missing: score the cases that are on both sides, and list the others at the end and in `summary.json`.
        workers: cases at a time; as many as cores and memory allow by default.
        progress: show a progress bar and print the table.

    Returns:
        what `summary.json` holds: see `summarise`, with the label values, the values left out, and the unmatched files.

    Raises:
        UserError: nothing to score, cases on one side only, unreadable files, different grids (all of them in one message).
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise UserError("workers", f"its value is {workers!r}", "use a whole number from 1 up")
    predicted, expected = label_maps.find(predictions), label_maps.find(references)
    if isinstance(references, (str, os.PathLike)) and Path(references).is_dir():
        folders = {Path(references)}
    else:
        folders = {path.absolute().parent for path in expected.values()}
    # files of several folders have no block in common
    block, origin, ignore = resolve(labels, [near for folder in folders for near in (folder, folder.parent)] if len(folders) == 1 else [])
    if all(isinstance(item, (str, os.PathLike)) and Path(item).is_file() for item in (predictions, references)):
        predicted = dict(zip(expected, predicted.values(), strict=True))  # two files are one case, whatever their names
    predicted = _by_reference(predicted, expected)
    names = _match(predicted, expected, cases, allow_missing=allow_missing)
    jobs = _check_grids({name: (predicted[name], expected[name]) for name in names})
    partly = _partly_labelled(labelled, expected, block)
    scored = _score_all(jobs, block, ignore, workers, progress)
    rows = [row for part, _ in scored for row in part if row["structure"] in partly.get(row["case"], (row["structure"],))]
    unmatched = {
        "references_without_prediction": sorted(expected.keys() - predicted.keys()) if cases is None else [],
        "predictions_without_reference": sorted(predicted.keys() - expected.keys()) if cases is None else [],
    }
    unlisted = {side: sorted(set().union(*(found[side] for _, found in scored))) for side in ("predictions", "references")}
    about = {"labels": block, "labels_from": origin, "ignored_values": list(ignore), "values_without_label": unlisted}
    about |= {"partly_labelled": partly} if partly else {}
    summary = {**summarise(rows), **about, **unmatched}
    output = Path(output_dir).expanduser()
    write_metrics(rows, output / "metrics.csv")
    write_json(output / "summary.json", summary)
    if progress:
        print(table(summary))
        for key, left in unmatched.items():
            if left:
                print(f"Not in the table: {len(left)} {key.replace('_', ' ')} ({', '.join(left[:5])}{', ...' if len(left) > 5 else ''})")
        for side, values in unlisted.items():
            if values:
                print(f"The {side} hold values that no label names, taken for background: {', '.join(map(str, values))}")
        if ignore:
            print(f"Left out of the scores: voxels that the references mark with {', '.join(map(str, ignore))} ('ignore')")
        print(f"Labels from {origin}. Written: {output / 'metrics.csv'}, {output / 'summary.json'}")
    return summary


def summarise(rows: Sequence[Mapping]) -> dict:
    """Mean, sd (n - 1), median and n per structure and metric; cells that are empty are left out, and counted.

    Returns:
        `{"cases": n, "structures": {name: {metric: {"mean", "sd", "median", "n"}, ..., "absent", "missed",
        "false_positive"}}}`: in how many cases the reference lacks the structure, the prediction misses it completely, the
        prediction has it and the reference does not. No value (n = 0), and the sd of one value, is null.
    """
    structures: dict[str, dict] = {}
    for name in dict.fromkeys(row["structure"] for row in rows):
        mine = [row for row in rows if row["structure"] == name]
        entry: dict = {metric: _statistics([row[metric] for row in mine if row[metric] is not None]) for metric in COLUMNS}
        entry["absent"] = sum(row["reference_ml"] == 0 for row in mine)
        entry["missed"] = sum(row["reference_ml"] > 0 and row["volume_ml"] == 0 for row in mine)
        entry["false_positive"] = sum(row["reference_ml"] == 0 and row["volume_ml"] > 0 for row in mine)
        structures[name] = entry
    return {"cases": len({row["case"] for row in rows}), "structures": structures}


def table(summary: Mapping) -> str:
    """The summary as a table for the console: mean and sd of each score, with the number of cases behind it."""
    lines = [f"{'structure':20s} {'n':>4s} " + " ".join(f"{heading:>15s}" for heading, _ in SHOWN.values())]
    for name, entry in summary["structures"].items():
        cells = [_cell(entry[metric], digits) for metric, (_, digits) in SHOWN.items()]
        notes = [f"{what.replace('_', ' ')} in {entry[what]}" for what in ("absent", "missed", "false_positive") if entry[what]]
        line = f"{name:20s} {entry['dice']['n']:4d} " + " ".join(f"{cell:>15s}" for cell in cells)
        lines.append(line + (f"  ({', '.join(notes)})" if notes else ""))
    return "\n".join(lines)


def write_metrics(rows: Sequence[Mapping], path: Path) -> None:
    """`metrics.csv`: a row per case and structure; a score that is not defined is an empty cell."""
    formatted = [{**row, **{name: "" if row[name] is None else f"{row[name]:.6g}" for name in COLUMNS}} for row in rows]
    write_csv(path, ["case", "structure", *COLUMNS], formatted)


def read_metrics(path: Path) -> list[dict]:
    """The rows of a `metrics.csv`, empty cells as None.

    Raises:
        UserError: a file that is not there or lacks a column.
    """
    try:
        rows = read_csv(path)
        # tables of earlier versions have no mesh_mm
        rows = [{"mesh_mm": "", **row} for row in rows]
        scores = [{metric: _finite(row[metric]) if row[metric] else None for metric in COLUMNS} for row in rows]
        lacking = [row["case"] for row, mine in zip(rows, scores, strict=True) if None in (mine["volume_ml"], mine["reference_ml"])]
        if lacking:
            raise ValueError(f"case {lacking[0]} has no volume_ml or reference_ml")
        return [{"case": row["case"], "structure": row["structure"], **mine} for row, mine in zip(rows, scores, strict=True)]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        fix = "write it with: python -m bundle score PREDICTIONS REFERENCES OUT"
        reason = f"the column {error} is missing" if isinstance(error, KeyError) else getattr(error, "strerror", None) or error
        raise UserError(path, f"is not a table of scores ({reason})", fix) from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the value {text} is not a number")
    return value


def _by_reference(predicted: Mapping[str, Path], expected: Mapping[str, Path]) -> dict[str, Path]:
    """The predictions by the names of their references, where only one of each side that has no partner would be called the same."""
    free, alone = (_by_result(one.keys() - other.keys()) for one, other in ((expected, predicted), (predicted, expected)))
    partners = {alone[called][0]: free[called][0] for called in alone if len(alone[called]) == len(free.get(called, [])) == 1}
    return {partners.get(name, name): path for name, path in predicted.items()}


def _by_result(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what inference calls a result of a scan of that name, nnU-Net's channel number left out."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(case_name(name.removesuffix(CHANNEL).split("/")), []).append(name)
    return found


def _match(predicted: Mapping, expected: Mapping, cases: Sequence[str] | None, *, allow_missing: bool) -> list[str]:
    """The names of the cases to score."""
    both = sorted(predicted.keys() & expected.keys())
    if isinstance(cases, (str, int)):
        cases = [case.strip() for case in str(cases).split(",")]
    if cases is not None:
        wanted = {str(case) for case in cases}
        missing = sorted(wanted - set(both))
        if missing:
            fix = "predict them first, or leave them out of 'cases'"
            raise UserError(", ".join(missing), "no prediction or no reference for these cases", fix)
        return sorted(wanted)
    if not both:
        shown = [", ".join(sorted(names)[:3]) or "nothing" for names in (predicted, expected)]
        problem = f"no file name is on both sides (predictions: {shown[0]}; references: {shown[1]})"
        fix = f"name them {outputs.label_map('<case>')} or <case>.nii.gz"
        raise UserError("predictions and references", problem, fix)
    sides = (("prediction", expected.keys() - predicted.keys()), ("reference", predicted.keys() - expected.keys()))
    lost = [f"no {what} for {_first_names(sorted(names))}" for what, names in sides if names]
    if lost and not allow_missing:
        fix = "add the missing files; --allow_missing true scores the other cases"
        raise UserError("predictions and references", f"not every case is on both sides: {'; '.join(lost)}", fix)
    return both


def _partly_labelled(labelled: Mapping[str, Sequence[str]] | None, references: Iterable[str], labels: Labels) -> dict[str, list[str]]:
    """The structures of the references of partly labelled cases, in the order of the labels."""
    known, cases = label_names(labels)[1:], sorted(references)
    found = {case: [name for name in known if name in structures] for case, structures in (labelled or {}).items()}
    for case, structures in found.items():
        if case not in cases or not structures:
            what = f"{case} is no reference" if case not in cases else f"{case} has none of {', '.join(known)}"
            raise UserError("--labelled", what, f'name structures of a reference: \'{{"{cases[0]}": ["{known[0]}"]}}\'')
    return found


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _check_grids(pairs: Mapping[str, tuple[Path, Path]]) -> list[tuple]:
    """(case, prediction, reference, axes, voxels) per case; every case on another grid is named in one error."""
    jobs, problems = [], []
    for name, (prediction, reference) in pairs.items():
        mine, theirs = label_maps.grid(prediction), label_maps.grid(reference)
        axes = grids.axes_onto(*mine, *theirs)
        if axes is None:
            text = f"{prediction.name}: {grids.describe(*mine)}; its reference: {grids.describe(*theirs)}"
            problems.append((prediction, text))
        jobs.append((name, prediction, reference, axes, int(np.prod(mine[0]))))
    if problems:
        listed = "; ".join(text for _, text in problems[:10]) + (f" (and {len(problems) - 10} more)" if len(problems) > 10 else "")
        problem = f"{len(problems)} of {len(jobs)} label maps are on another grid than their references: {listed}"
        fix = "bring the predictions back to the source grid, as inference.json does; scoring does not resample"
        raise UserError(problems[0][0].parent, problem, fix)
    return jobs


def _score_all(
    jobs: list[tuple], labels: Labels, ignore: Sequence[int], workers: int | None, progress: bool
) -> list[tuple[list[dict], dict[str, set[int]]]]:
    """Rows and values without label per case. Threads are enough: gzip, numpy and trees, which take the time, release the GIL."""
    from tqdm import tqdm

    if workers is None:
        fit = memory_available() // (2 * BYTES_PER_VOXEL * max(job[-1] for job in jobs))
        workers = max(1, min(cpu_limit(), fit, len(jobs)))
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(_score_one, jobs, [labels] * len(jobs), [ignore] * len(jobs))
        return list(tqdm(results, total=len(jobs), desc="scoring", unit="case", disable=not progress))


def _score_one(job: tuple, labels: Labels, ignore: Sequence[int]) -> tuple[list[dict], dict[str, set[int]]]:
    name, prediction, reference, axes, _ = job
    predicted, _ = label_maps.read(prediction)
    expected, affine = label_maps.read(reference)
    known = {value for values in label_values(labels) for value in values} | set(ignore)
    unlisted = {side: label_maps.values_in(array) - known for side, array in (("predictions", predicted), ("references", expected))}
    predicted = grids.reorder(predicted, axes)
    if ignore and (left := np.isin(expected, ignore)).any():
        predicted = np.where(left, label_values(labels)[0][0], predicted)
    rows = score_case(predicted, expected, affine[:3, :3], labels)
    return [{"case": name, **row} for row in rows], unlisted


def _statistics(values: Sequence[float]) -> dict[str, float | int | None]:
    if not values:
        return {"mean": None, "sd": None, "median": None, "n": 0}
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "median": float(np.median(values)), "n": len(values)}


def _cell(statistics: Mapping, digits: int) -> str:
    if statistics["mean"] is None:
        return "-"
    sd = "" if statistics["sd"] is None else f" ± {statistics['sd']:.{digits}f}"
    return f"{statistics['mean']:.{digits}f}{sd}"
