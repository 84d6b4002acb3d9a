"""Verb `calibrate`: expected to measured Dice, fitted on scored results, as the JSON that `bundle.inferers.calibration` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.inferers.calibration import Line, calibrated, logit
from bundle.json_input import read_object
from bundle.results import outputs
from bundle.tables import read_table

# a line through less says nothing
LEAST_CASES = 5
# what stands for "the network is right about itself", in cases
PRIOR = 1.0
SCORES = "metrics.csv"
# of one label map, volumes in both tables may differ by rounding of the grid and of the figures
SAME_VOLUME, SAME_ML = 0.01, 0.01


def fit_line(expected: Sequence[float], dice: Sequence[float]) -> Line:
    """Slope and intercept of logit(Dice) over logit(expected Dice), so that sigmoid(slope logit(e) + intercept) is the Dice.

    Logistic calibration (Platt, "Probabilistic outputs for support vector machines", 1999) with a share in the place of a class: the
    least cross-entropy between the Dice and what is said of it, the line of a network that is right about itself (1, 0) weighing as
    much as one case. The slope is not negative.

    Args:
        expected: expected Dice of each case, 0 to 1.
        dice: its Dice, 0 to 1.
    """
    odds, truth = np.array([logit(value) for value in expected]), np.asarray(dice, float)

    def loss(line: np.ndarray) -> float:
        said = line[0] * odds + line[1]
        return float((np.logaddexp(0, said) - truth * said).sum() + PRIOR * ((line[0] - 1) ** 2 + line[1] ** 2) / 2)

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.0, None), (None, None)]).x
    return float(slope), float(intercept)


def calibrate(results: str | Sequence[str], out: str = "calibration.json") -> None:
    """Fit expected to measured Dice, structure by structure, and write it for `--calibration`.

    The scans must not be those that the weights were trained on.

    Args:
        results: folder of results with their scores (`cases.csv`, `run.json`, `metrics.csv`: the overlay `evaluate` writes all three), or
            a list of such folders, all of the same weights.
        out: the JSON file to write.

    Raises:
        UserError: a file is missing, the scores are of other label maps, cases are of different weights or were made with a
            calibration, or a structure has fewer than five cases.
    """
    folders = [Path(folder) for folder in ([results] if isinstance(results, str) else results)]
    settings = {folder: _settings(folder) for folder in folders}
    pairs: dict[str, list[tuple[float, float]]] = {}
    weights: dict[str, Path] = {}
    for folder in folders:
        for (case, structure), pair in _pairs(folder).items():
            pairs.setdefault(structure, []).append(pair)
            weights.setdefault(_weights(folder, case, settings[folder]), folder)
    if len(weights) > 1:
        first, other = list(weights.values())[:2]
        problem = f"its weights are not those of {first}" if first != other else "its cases are of several files of weights"
        raise UserError(str(other), problem, "give results of one file of weights")
    few = [structure for structure, values in pairs.items() if len(values) < LEAST_CASES]
    if few or not pairs:
        there = f"{few[0]} has an expected and a measured Dice in {counted(len(pairs[few[0]]), 'case')}" if few else "no case has both"
        raise UserError(str(folders[0]), there, f"score {LEAST_CASES} cases with references or more")
    structures = {}
    for structure, values in pairs.items():
        expected, dice = zip(*values, strict=True)
        slope, intercept = fit_line(expected, dice)
        said = [calibrated(value, (slope, intercept)) for value in expected]
        before, after = (float(np.mean(np.abs(np.subtract(one, dice)))) for one in (expected, said))
        structures[structure] = {"slope": round(slope, 4), "intercept": round(intercept, 4), "cases": len(values)}
        print(f"{structure}: mean distance to the Dice {before:.3f} before, {after:.3f} after, {counted(len(values), 'case')}")
    write_json(out, {"weights": next(iter(weights)), "structures": structures})
    print(f"the calibration is in {out}")


def _settings(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What each case of a folder was made with; under "" what the last run had, for cases that do not say it."""
    try:
        content = json.loads((folder / outputs.RECORD).read_text(encoding="utf-8"))
        found = {"": {"weights": content["settings"]["weights"], **content["settings"]}}
        return found | {entry["case"]: entry["settings"] for entry in content.get("cases", []) if entry.get("settings")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(str(folder), f"there is no {outputs.RECORD} that names its weights", "give a folder that inference wrote") from None


def _weights(folder: Path, case: str, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of the weights that a case was made with."""
    made = settings.get(case, settings[""])
    if made.get("calibration") is not None:
        # what is said there has been corrected already, and a line through it would be laid over the network's own word
        problem = f"the expected Dice of case {case} is that of a calibration already"
        raise UserError(str(folder), problem, "run inference on these scans again with --calibration None, into another --output_dir")
    return str(made.get("weights"))


def _pairs(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Expected and measured Dice by case and structure, where the structure was found and its reference is not empty.

    A case that failed has the figures of an earlier result, and does not count.

    Raises:
        UserError: a table is missing or cannot be used, or the scores are of other label maps than the table of cases.
    """
    for name in (outputs.TABLE, SCORES):
        if not (folder / name).is_file():
            fix = "score the results: the overlay evaluate, or python -m bundle score"
            raise UserError(str(folder), f"there is no {name}", fix)
    again = "score the results again"
    expected = _numbers(folder / outputs.TABLE, ("expected_dice", "volume_ml"), "run inference on that folder again")
    dice = _numbers(folder / SCORES, ("dice", "volume_ml"), again)
    pairs = {}
    for (case, structure), (value, volume) in expected.items():
        measured, scored = dice.get((case, structure), (None, None))
        if value is None or measured is None:
            continue
        if volume is not None and scored is not None and abs(volume - scored) > SAME_VOLUME * volume + SAME_ML and not _left_out(folder):
            problem = f"case {case} has {volume:g} ml of {structure} in {outputs.TABLE} and {scored:g} ml here"
            raise UserError(folder / SCORES, f"{problem}: the scores are of another label map", again)
        pairs[case, structure] = value, measured
    return pairs


def _left_out(folder: Path) -> bool:
    """Whether voxels that the references mark with `ignore` are in no score, so that volumes there are smaller."""
    path = folder / "summary.json"
    return path.is_file() and bool(read_object(path, '{"ignored_values": []}').get("ignored_values"))


def _numbers(table: Path, columns: tuple[str, str], fix: str) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Two columns of a table, of which the first must be there, by case and structure; empty cells are None, and failed cases left out."""
    found = {}
    for row in read_table(table, ("case", "structure", columns[0]), fix):
        if row.get("status") != "failed":
            found[row["case"], row["structure"]] = (_number(row, columns[0], table, fix), _number(row, columns[1], table, fix))
    return found


def _number(row: Mapping[str, str], column: str, table: Path, fix: str) -> float | None:
    try:
        return float(row[column]) if row.get(column) else None
    except ValueError:
        raise UserError(table, f"case {row['case']}: {column} is {row[column]!r}", fix) from None
