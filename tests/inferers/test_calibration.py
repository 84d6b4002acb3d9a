"""A file of the verb `calibrate`: what it changes, and for which weights."""

from __future__ import annotations

import json
import math

import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import calibration
from bundle.inferers.calibration import Calibration, calibrated
from bundle.inferers.confidence import Confidence

LABELS = {"background": 0, "pancreas": 1, "spleen": 2}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_are_numbers(value):
    assert 0 <= calibrated(value, (3.0, -2.0)) <= 1


def test_one_structure_of_the_weights_that_it_was_fitted_to(tmp_path, monkeypatch):
    """Odds of 4 and an intercept of -log 4: even odds."""
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"weights": "d1", "structures": {"pancreas": {"slope": 1.0, "intercept": -1.3862944, "cases": 9}}}))
    monkeypatch.setattr("bundle.networks.weights.weights_digest", lambda path: {"mine.pt": "d1"}.get(path))
    found = [Confidence(0.9, 0.5, 0.99), Confidence(0.9, 0.5, 0.8), None]
    changed = Calibration(file, "mine.pt", LABELS)(found)
    assert changed[0] == found[0] and changed[2] is None
    assert changed[1].expected_dice == pytest.approx(0.5, abs=1e-6) and changed[1].mean == 0.9
    assert Calibration(file, "other.pt", LABELS)(found) == found
    assert Calibration(None, "mine.pt", LABELS)(found) == found


def test_a_file_that_was_asked_for_and_changes_nothing_is_told(tmp_path, caplog):
    weights = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1)}, weights)
    for name in ("calibration.json", "other.json"):
        line = {"slope": 1.0, "intercept": 0.0}
        (tmp_path / name).write_text(json.dumps({"weights": "those of another", "structures": {"pancreas": line}}))
    assert Calibration(str(tmp_path / "calibration.json"), str(weights), LABELS).lines == {} and not caplog.text
    assert Calibration(str(tmp_path / "other.json"), str(weights), LABELS).lines == {}
    assert "other.json was fitted to other weights than those that run: it changes nothing" in caplog.text
    with pytest.raises(UserError, match=r"other\.json: it is about pancreas, and the labels are liver"):
        Calibration(str(tmp_path / "other.json"), str(weights), {"background": 0, "liver": 1})
    assert Calibration(str(tmp_path / "calibration.json"), str(weights), {"background": 0, "liver": 1}).lines == {}


def test_files_that_change_count_from_the_next_call_on(tmp_path):
    """As in a server, which lives on while weights are trained; even odds of odds of 9."""
    from bundle.networks.weights import weights_digest

    weights, file = tmp_path / "model.pt", tmp_path / "calibration.json"
    found = [None, Confidence(0.9, 0.5, 0.9), None]
    torch.save({"a": torch.zeros(1)}, weights)
    calibrate = Calibration(str(file), str(weights), LABELS)
    assert calibrate(found) == found, "there is none yet"
    content = {"weights": weights_digest(weights), "structures": {"pancreas": {"slope": 1.0, "intercept": -math.log(9)}}}
    file.write_text(json.dumps(content))
    assert calibrate(found)[1].expected_dice == pytest.approx(0.5)
    lines = calibrate.lines
    assert calibrate.lines is lines, "and nothing is read as long as nothing changes"
    torch.save({"a": torch.ones(1)}, weights)
    assert calibrate(found) == found
    file.write_text(json.dumps(content | {"weights": weights_digest(weights)}))
    assert calibrate(found)[1].expected_dice == pytest.approx(0.5)
    file.write_text("{}")
    with pytest.raises(UserError, match="this is no calibration"):
        calibrate(found)
    file.unlink()
    assert calibrate(found) == found


def test_the_file_beside_the_weights_may_be_missing(tmp_path):
    weights, found = str(tmp_path / "model.pt"), [Confidence(0.9, 0.5, 0.8)]
    assert calibration.beside(weights) == calibration.beside([weights, "b/c.pt"]) == str(tmp_path / "calibration.json")
    assert Calibration(calibration.beside(weights), weights, LABELS)(found) == found
    assert Calibration(calibration.beside(None), None, LABELS)(found) == found
    with pytest.raises(UserError, match="cannot be read"):
        Calibration(tmp_path / "calibration.json", "elsewhere/model.pt", LABELS)


@pytest.mark.parametrize("text", ["{}", "nothing", '{"weights": "d", "structures": {"a": {"slope": "x", "intercept": 0}}}'])
def test_a_file_that_is_no_calibration_is_one_line(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(UserError, match="this is no calibration"):
        Calibration(tmp_path / "c.json", None, LABELS)
    with pytest.raises(UserError, match="cannot be read"):
        Calibration(tmp_path / "missing.json", None, LABELS)
