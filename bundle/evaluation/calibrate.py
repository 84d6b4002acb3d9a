"""Verb `calibrate`: expected to measured Dice, fitted on scored results, as the JSON that `bundle.inferers.calibration` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.inferers.calibration import Line, calibrated, logit
from bundle.results import outputs
from bundle.tables import read_table

# a line through less says nothing
LEAST_CASES = 5
# what stands for "the network is right about itself", in cases
PRIOR = 1.0


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
        UserError: a file is missing, the folders are of different weights or were made with a calibration, or a structure has fewer than
            five cases.
    """
    folders = [Path(folder) for folder in ([results] if isinstance(results, str) else results)]
    weights = {folder: _weights(folder) for folder in folders}
    if len(set(weights.values())) > 1:
        raise UserError(str(folders[-1]), f"its weights are not those of {folders[0]}", "give results of one file of weights")
    pairs: dict[str, list[tuple[float, float]]] = {}
    for folder in folders:
        for structure, values in _pairs(folder).items():
            pairs.setdefault(structure, []).extend(values)
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
    write_json(out, {"weights": next(iter(weights.values())), "structures": structures})
    print(f"the calibration is in {out}")


def _weights(folder: Path) -> str:
    try:
        settings = json.loads((folder / outputs.RECORD).read_text(encoding="utf-8"))["settings"]
        weights, calibration = str(settings["weights"]), settings.get("calibration")
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(str(folder), f"there is no {outputs.RECORD} that names its weights", "give a folder that inference wrote") from None
    if calibration is not None:
        # what is said there has been corrected already, and a line through it would be laid over the network's own word
        problem = "its expected Dice is that of a calibration already"
        raise UserError(str(folder), problem, "run inference on these scans again with --calibration None, into another --output_dir")
    return weights


def _pairs(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Expected and measured Dice of each structure that was found and whose reference is not empty."""
    for name in (outputs.TABLE, "metrics.csv"):
        if not (folder / name).is_file():
            fix = "score the results: the overlay evaluate, or python -m bundle score"
            raise UserError(str(folder), f"there is no {name}", fix)
    expected = _numbers(folder / outputs.TABLE, "expected_dice", "run inference on that folder again")
    dice = _numbers(folder / "metrics.csv", "dice", "score the results again")
    pairs: dict[str, list[tuple[float, float]]] = {}
    for (case, structure), value in expected.items():
        if (case, structure) in dice:
            pairs.setdefault(structure, []).append((value, dice[case, structure]))
    return pairs


def _numbers(table: Path, column: str, fix: str) -> dict[tuple[str, str], float]:
    """A column of a table by case and structure; empty cells are left out."""
    found: dict[tuple[str, str], float] = {}
    for row in read_table(table, ("case", "structure", column), fix):
        try:
            if row[column]:
                found[row["case"], row["structure"]] = float(row[column])
        except ValueError:
            raise UserError(table, f"case {row['case']}: {column} is {row[column]!r}", fix) from None
    return found
