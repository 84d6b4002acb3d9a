"""Confidence against probabilities worked out by hand, and the same however the volume is cut into slabs."""

from __future__ import annotations

import pytest
import torch

from bundle.inferers import confidence as module
from bundle.inferers.confidence import confidence, disagreement


def logits_of(probabilities) -> torch.Tensor:
    """(2, n, 1, 1) logits with these probabilities of the second channel."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.log(torch.stack([1 - p, p]))[..., None, None]


def test_mean_minimum_and_expected_dice_by_hand():
    background, found = confidence(logits_of([0.9, 0.6, 0.3, 0.0001]))
    assert found.mean == pytest.approx(0.75)
    assert found.minimum == pytest.approx(0.6)
    assert found.expected_dice == pytest.approx(2 * 1.5 / (0.9 + 0.6 + 0.3 + 0.0001 + 2), abs=1e-4)
    assert background.mean == pytest.approx((0.7 + 0.9999) / 2)


def test_a_channel_that_wins_nothing_has_none():
    assert confidence(logits_of([0.4, 0.1]))[1] is None


def test_slabs_do_not_change_it(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits, other = torch.randn(2, 4, 13, 6, 5, generator=generator)
    whole, apart = confidence(logits), disagreement(logits, other)
    monkeypatch.setattr(module, "SLAB_VALUES", 360)
    for one, two in zip(confidence(logits), whole, strict=True):
        assert one == pytest.approx(two, abs=1e-6)
    assert disagreement(logits, other) == apart


def test_bfloat16_logits_are_taken():
    assert confidence(logits_of([0.9, 0.9]).bfloat16())[1].mean == pytest.approx(0.9, abs=0.01)


def test_disagreement_is_one_minus_dice():
    maps = torch.tensor([[1, 1, 1, 0, 2, 0], [1, 0, 0, 0, 0, 0]])
    one, other = torch.nn.functional.one_hot(maps, 4).movedim(-1, 1)[..., None, None].float()
    assert disagreement(one, other) == [pytest.approx(1 - 2 * 2 / 7), pytest.approx(1 - 2 * 1 / 4), 1.0, 0.0]
