"""The line from expected to measured Dice, and the verb that fits it on scored results."""

from __future__ import annotations

import json
import math

import pytest

from bundle.errors import UserError
from bundle.evaluation.calibrate import calibrate, fit_line
from bundle.inferers.calibration import calibrated
from bundle.tables import write_csv


def test_a_network_that_is_right_about_itself_is_left_alone():
    values = [0.2, 0.5, 0.8, 0.9, 0.95]
    slope, intercept = fit_line(values, values)
    assert slope == pytest.approx(1.0, abs=1e-3) and intercept == pytest.approx(0.0, abs=1e-3)
    assert calibrated(0.8, (1.0, 0.0)) == pytest.approx(0.8)


def test_odds_that_are_four_times_too_high_are_a_quarter_afterwards():
    """0.8 is odds of 4: a quarter is 1, a Dice of 0.5."""
    expected = [0.6, 0.8, 0.9, 0.95] * 5000
    dice = [1 / (1 + 4 * (1 - e) / e) for e in expected]
    line = fit_line(expected, dice)
    assert line == (pytest.approx(1.0, abs=0.02), pytest.approx(-math.log(4), abs=0.02))
    assert calibrated(0.8, line) == pytest.approx(0.5, abs=0.01)


def test_a_dice_that_falls_while_more_is_expected_makes_no_negative_slope():
    slope, intercept = fit_line([0.6, 0.7, 0.8, 0.9] * 20, [0.5, 0.4, 0.3, 0.2] * 20)
    assert slope == pytest.approx(0.0, abs=0.05)
    assert calibrated(0.9, (slope, intercept)) == pytest.approx(0.35, abs=0.03)


def _results(folder, dice, digest="d1"):
    folder.mkdir()
    rows = [{"case": f"c{i}", "structure": "pancreas", "expected_dice": 0.8} for i in range(len(dice))]
    write_csv(folder / "cases.csv", ["case", "structure", "expected_dice"], rows)
    scores = [{"case": f"c{i}", "structure": "pancreas", "dice": one} for i, one in enumerate(dice)]
    write_csv(folder / "metrics.csv", ["case", "structure", "dice"], scores)
    (folder / "run.json").write_text(json.dumps({"settings": {"weights": digest}}))
    return str(folder)


def test_verb_fits_what_was_scored(tmp_path, capsys):
    folders = [_results(tmp_path / "a", [0.5] * 40), _results(tmp_path / "b", [0.5] * 40)]
    calibrate(folders, str(tmp_path / "calibration.json"))
    assert "0.300 before, 0.00" in capsys.readouterr().out
    content = json.loads((tmp_path / "calibration.json").read_text())
    line = content["structures"]["pancreas"]
    assert content["weights"] == "d1" and line["cases"] == 80
    assert calibrated(0.8, (line["slope"], line["intercept"])) == pytest.approx(0.5, abs=0.01)


def test_what_cannot_be_fitted_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"pancreas has .* in 3 cases.* Fix: score 5 cases"):
        calibrate(_results(tmp_path / "few", [0.5] * 3), str(tmp_path / "out.json"))
    folders = [_results(tmp_path / "a", [0.5] * 6), _results(tmp_path / "b", [0.5] * 6, "d2")]
    with pytest.raises(UserError, match=r"b: its weights are not those of .*a"):
        calibrate(folders, str(tmp_path / "out.json"))
    calibrated_already = tmp_path / "c"
    _results(calibrated_already, [0.5] * 6)
    (calibrated_already / "run.json").write_text(json.dumps({"settings": {"weights": "d1", "calibration": "abc"}}))
    with pytest.raises(UserError, match=r"c: .* of case c0 is that of a calibration already\. Fix: run .*--calibration None"):
        calibrate(str(calibrated_already), str(tmp_path / "out.json"))
    (tmp_path / "a" / "metrics.csv").unlink()
    with pytest.raises(UserError, match=r"there is no metrics.csv"):
        calibrate(folders[:1], str(tmp_path / "out.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"there is no run.json"):
        calibrate(str(tmp_path / "empty"), str(tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("name", ["cases.csv", "metrics.csv"])
def test_tables_that_another_program_saved_are_named(tmp_path, name):
    folder = _results(tmp_path / "a", [0.5] * 6)
    table = tmp_path / "a" / name
    content = table.read_text()
    table.write_text(content.replace(",", ";"))
    with pytest.raises(UserError, match=rf"{name}: has no column case; its first line begins with 'case;structure;"):
        calibrate(folder, str(tmp_path / "out.json"))
    table.write_text(content.replace("0.8\n", "80 %\n").replace("0.5\n", "50 %\n"))
    with pytest.raises(UserError, match=rf"{name}: case c0: \w+ is '[58]0 %'"):
        calibrate(folder, str(tmp_path / "out.json"))


def _recorded(folder, **of_case):
    """A run.json of the weights d1, and one of its cases that was made with others settings."""
    settings = {"weights": "d1", "calibration": None}
    cases = [{"case": f"c{i}", "settings": {**settings, **(of_case if i == 3 else {})}} for i in range(6)]
    (folder / "run.json").write_text(json.dumps({"settings": settings, "cases": cases}))


def test_each_case_counts_by_what_it_was_made_with(tmp_path):
    """The run that came last says nothing about results of earlier ones in its folder."""
    folder, out = _results(tmp_path / "a", [0.5] * 6), str(tmp_path / "out.json")
    _recorded(tmp_path / "a", weights="d0")
    with pytest.raises(UserError, match=r"a: its cases are of several files of weights\. Fix: give results of one"):
        calibrate(folder, out)
    _recorded(tmp_path / "a", calibration="abc")
    with pytest.raises(UserError, match=r"a: the expected Dice of case c3 is that of a calibration already"):
        calibrate(folder, out)
    _recorded(tmp_path / "a")
    calibrate(folder, out)


def test_a_case_that_failed_does_not_count(tmp_path):
    folder, out = _results(tmp_path / "a", [0.5] * 6), str(tmp_path / "out.json")
    rows = [{"case": f"c{i}", "status": "ok" if i else "failed", "structure": "pancreas", "expected_dice": 0.8} for i in range(6)]
    write_csv(tmp_path / "a" / "cases.csv", ["case", "status", "structure", "expected_dice"], rows)
    _recorded(tmp_path / "a")
    calibrate(folder, out)
    assert json.loads((tmp_path / "out.json").read_text())["structures"]["pancreas"]["cases"] == 5


def test_scores_of_the_label_maps_before_are_refused(tmp_path):
    """Inference came again with other weights, and nobody has scored its label maps."""
    folder, out = _results(tmp_path / "a", [0.5] * 6), str(tmp_path / "out.json")
    rows = [{"case": f"c{i}", "structure": "pancreas", "expected_dice": 0.8, "volume_ml": 70.004 + i} for i in range(6)]
    write_csv(tmp_path / "a" / "cases.csv", ["case", "structure", "expected_dice", "volume_ml"], rows)
    scores = [{"case": f"c{i}", "structure": "pancreas", "dice": 0.5, "volume_ml": 70 + i} for i in range(6)]
    write_csv(tmp_path / "a" / "metrics.csv", ["case", "structure", "dice", "volume_ml"], scores)
    calibrate(folder, out)
    scores[4]["volume_ml"] = 60
    write_csv(tmp_path / "a" / "metrics.csv", ["case", "structure", "dice", "volume_ml"], scores)
    match = r"metrics.csv: case c4 has 74.004 ml of pancreas in cases.csv and 60 ml here: .* label map\. Fix: score the results again"
    with pytest.raises(UserError, match=match):
        calibrate(folder, out)
    (tmp_path / "a" / "summary.json").write_text('{"ignored_values": [255]}')
    calibrate(folder, out)
