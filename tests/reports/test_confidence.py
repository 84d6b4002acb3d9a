"""Confidence against probabilities worked out by hand, and the same however the volume is cut into slabs."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.reports import confidence as module
from bundle.reports.confidence import flip_disagreement, structure_confidence


def logits_of(probabilities) -> np.ndarray:
    """(2, n, 1, 1) logits with these probabilities of the structure."""
    p = np.array(probabilities, dtype=np.float64)
    return np.log(np.stack([1 - p, p]))[..., None, None]


def test_mean_minimum_and_expected_dice_by_hand():
    found = structure_confidence(logits_of([0.9, 0.6, 0.3, 0.0001]), ["background", "spleen"])["spleen"]
    assert found.mean == pytest.approx(0.75)
    assert found.minimum == pytest.approx(0.6)
    assert found.expected_dice == pytest.approx(2 * 1.5 / (0.9 + 0.6 + 0.3 + 0.0001 + 2), abs=1e-4)


def test_structures_that_no_voxel_got_are_left_out():
    assert structure_confidence(logits_of([0.4, 0.1]), ["background", "spleen"]) == {}


def test_slabs_do_not_change_it(monkeypatch):
    logits = np.random.default_rng(0).normal(size=(4, 13, 6, 5)).astype(np.float32)
    whole = structure_confidence(logits, ["background", "a", "b", "c"])
    monkeypatch.setattr(module, "SLAB_VOXELS", 90)
    parts = structure_confidence(logits, ["background", "a", "b", "c"])
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, abs=1e-6)


def test_bfloat16_logits_are_taken():
    import torch

    found = structure_confidence(torch.as_tensor(logits_of([0.9, 0.9])).bfloat16(), ["background", "spleen"])
    assert found["spleen"].mean == pytest.approx(0.9, abs=0.01)


def test_names_and_channels_must_agree():
    with pytest.raises(ValueError, match="2 channels but 1 names"):
        structure_confidence(logits_of([0.9]), ["background"])


def test_flip_disagreement_is_one_minus_dice():
    one, other = np.array([1, 1, 1, 0, 2, 0]), np.array([1, 0, 0, 0, 0, 0])
    found = flip_disagreement(one, other, {"background": 0, "a": 1, "b": 2, "c": 3})
    assert found == {"a": pytest.approx(1 - 2 * 1 / 4), "b": 1.0}
    with pytest.raises(ValueError, match="different shapes"):
        flip_disagreement(one, other[:3], {"a": 1})
