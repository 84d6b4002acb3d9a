"""Paired statistics, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bundle.evaluation.paired import bootstrap_interval, holm, paired


def test_five_cases_by_hand() -> None:
    """Differences 1, 2, 3, 4, -0.5: the only negative rank is 1, so W = 1; of 32 sign patterns 2 have W <= 1, two-sided 4 / 32."""
    base = [0.0, 0, 0, 0, 0]
    found = paired(base, [1.0, 2, 3, 4, -0.5], resamples=200)
    assert (found.n, found.better, found.worse) == (5, 4, 1)
    assert found.mean_difference == pytest.approx(1.9)
    assert found.wilcoxon_p == pytest.approx(4 / 32)
    # t = mean / (sd / sqrt(n)) with sd^2 = (0.81 + 0.01 + 1.21 + 4.41 + 5.76) / 4 = 3.05
    t = 1.9 / math.sqrt(3.05 / 5)
    from scipy.stats import t as student

    assert found.t_p == pytest.approx(2 * student.sf(t, 4))


def test_better_is_what_the_metric_means() -> None:
    assert [getattr(paired([6, 6, 5, 4], [3, 3, 5, 7], lower_is_better=True, resamples=20), key) for key in ("better", "worse")] == [2, 1]
    assert [getattr(paired([6, 6, 5, 4], [3, 3, 5, 7], resamples=20), key) for key in ("better", "worse")] == [1, 2]


def test_no_difference_and_too_few() -> None:
    same = paired([0.5, 0.6], [0.5, 0.6])
    assert (same.mean_difference, same.low, same.high, same.wilcoxon_p, same.t_p) == (0, 0, 0, 1, 1)
    one = paired([0.5], [0.75])
    assert (one.n, one.mean_difference, one.low, one.wilcoxon_p, one.t_p) == (1, 0.25, None, None, None)
    assert paired([], []).mean_difference is None
    with pytest.raises(ValueError, match="3 and 1"):
        paired([1, 2, 3], [1])


def test_bootstrap_is_seeded_and_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(3).normal(1, 2, 400)
    low, high = bootstrap_interval(values, resamples=4000, seed=7)
    assert (low, high) == bootstrap_interval(values, resamples=4000, seed=7) != bootstrap_interval(values, resamples=4000, seed=8)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02) and high == pytest.approx(values.mean() + half, abs=0.02)


def test_holm_by_hand() -> None:
    """Sorted 0.01 x 3, 0.02 x 2 = 0.04, 0.03 x 1 but never below the one before."""
    assert holm([0.03, None, 0.01, 0.02]) == [pytest.approx(0.04), None, pytest.approx(0.03), pytest.approx(0.04)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
