"""Paired statistics of two methods on the same cases: tests, and an interval of the mean difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOWER_IS_BETTER = ("assd_mm", "hd95_mm", "mesh_mm")  # of the metrics that are compared


@dataclass(frozen=True)
class Paired:
    """How `other` differs from `base` on the same cases; differences are other minus base.

    `low` and `high` bound the 95 % bootstrap interval of the mean difference; `wilcoxon_p` and `t_p` are two-sided. `better`
    and `worse` count the cases by what the metric means: a smaller distance is better. A value that the number of cases does
    not allow is None.
    """

    n: int
    mean_difference: float | None
    low: float | None
    high: float | None
    wilcoxon_p: float | None
    t_p: float | None
    better: int
    worse: int


def paired(
    base: Sequence[float], other: Sequence[float], *, lower_is_better: bool = False, resamples: int = 10000, seed: int = 0
) -> Paired:
    """Compare two methods on the same cases; `lower_is_better` for distances: then a negative difference counts as better.

    - Wilcoxon signed-rank test (zero differences dropped; exact up to 50 cases without ties, as scipy chooses) and paired
      t test, both two-sided. If no case differs, both p are 1.
    - Percentile bootstrap of the mean difference: cases are drawn with replacement `resamples` times from the seeded
      generator; 2.5 and 97.5 percentile (Efron and Tibshirani 1993, chapter 13). Below some 15 cases it is too narrow.

    Raises:
        ValueError: unequal lengths.
    """
    from scipy.stats import ttest_rel, wilcoxon

    if len(base) != len(other):
        raise ValueError(f"paired values need equal lengths, got {len(base)} and {len(other)}")
    difference = np.asarray(other, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    count = len(difference)
    if count == 0:
        return Paired(0, None, None, None, None, None, 0, 0)
    low, high = bootstrap_interval(difference, resamples=resamples, seed=seed) if count > 1 else (None, None)
    tests: tuple[float | None, float | None]
    if not difference.any():
        tests = (1.0, 1.0)
    elif count < 2:
        tests = (None, None)
    else:
        constant = np.ptp(difference) == 0  # the t statistic is infinite then
        tests = (float(wilcoxon(difference).pvalue), 0.0 if constant else float(ttest_rel(other, base).pvalue))
    gain = -difference if lower_is_better else difference
    wilcoxon_p, t_p = tests
    return Paired(count, float(difference.mean()), low, high, wilcoxon_p, t_p, int((gain > 0).sum()), int((gain < 0).sum()))


def bootstrap_interval(values: np.ndarray, *, resamples: int, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of two values or more; the same numbers for the same seed."""
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,), np.mean, vectorized=True, n_resamples=resamples, batch=1000, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment for testing several hypotheses at once; None stays None and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(known):
        running = max(running, min(1.0, p * (len(known) - rank)))
        adjusted[index] = running
    return adjusted
