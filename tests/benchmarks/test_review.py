"""The benchmark of the review flag: damage does what it says, tables hold what a hand counts."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest


@pytest.fixture(scope="module")
def review(repository):
    spec = importlib.util.spec_from_file_location("review", repository / "benchmarks" / "review.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_damage_keeps_image_and_labels_together(review, axis):
    shape = [14, 16, 18]
    shape[axis] = 30
    rng = np.random.default_rng(0)
    image = rng.integers(-100, 100, shape).astype(np.float32)
    before, labels = image.copy(), (image > 0).astype(np.uint8)
    for damage in review.DAMAGES:
        damaged, moved = damage(image, labels, axis, np.random.default_rng(1))
        assert damaged.shape == moved.shape
        assert np.array_equal(image, before), f"{damage.__name__} changed its input"
        if damage in (review.cropped, review.mirrored, review.upside_down, review.slices_missing):
            assert np.array_equal(damaged > 0, moved > 0), damage.__name__
            assert damaged.shape != image.shape or not np.array_equal(damaged, image)
        else:
            assert np.array_equal(moved, labels) and not np.array_equal(damaged, image)
    assert review.slices_missing(image, labels, axis, rng)[0].shape[axis] == 20
    burst = review.noise_burst(image, labels, axis, rng)[0] != image
    assert np.flatnonzero(burst.any(axis=tuple(a for a in range(3) if a != axis))).tolist() == list(range(9, 21))


def test_auc_counts_pairs(review):
    assert review.auc([0.1, 0.5, 0.5, 0.9], [True, True, False, False]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert np.isnan(review.auc([0.1], [True]))


def test_tables(review):
    rows = [
        {"case": f"c{i}", "damage": damage, "dice": dice, "worst_dice": dice, "score": value, "confidence": value, "expected_dice": value}
        | {"review": flag, "reasons": ""}
        for i, (damage, dice, value, flag) in enumerate(
            [("whole", 0.9, 0.95, False), ("whole", 0.88, 0.9, True), ("shifted", 0.3, 0.2, True), ("shifted", 0.1, 0.92, False)]
        )
    ]
    text = review.report(rows)
    assert "4 cases, 2 of them undamaged. Bad: mean Dice below 0.790 (2 cases); weak: a structure's Dice below 0.7 (2 cases)." in text
    # three of the four pairs of a bad and another case are in order
    assert "| `score` | 0.750 | 0.750 | 0.400 | 1.000 |" in text
    assert "Flag `review`: on 1 of 2 bad cases, and on 1 of 2 others." in text
    assert "| whole | 2 | 0 | 0.890 | 0.925 | 1 |" in text and "| shifted | 2 | 2 | 0.200 | 0.560 | 1 |" in text
