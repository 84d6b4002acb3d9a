"""Counting values: the same numbers as numpy's `unique`, for every type, in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.checks import tally
from bundle.data.checks.tally import Tally


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64])
def test_the_same_as_unique(dtype):
    kind = np.dtype(dtype).kind
    generator = np.random.default_rng(0)
    low, high = (0, 2) if kind == "b" else (0, 120) if kind == "u" else (-120, 120)
    values = generator.integers(low, high, 5000).astype(dtype)
    counted = Tally()
    for piece in np.array_split(values, 7):
        counted.add(piece)
    found, numbers = np.unique(values, return_counts=True)
    assert counted.counts() == dict(zip(found.astype(int).tolist(), numbers.tolist(), strict=True))
    assert list(counted.counts()) == sorted(counted.counts())


@pytest.mark.parametrize("value", [-32768, -1, 0, 32767])
def test_ends_of_int16(value):
    counted = Tally()
    counted.add(np.array([value, value], np.int16))
    assert counted.counts() == {value: 2}


def test_far_apart_values_round_and_stay_bounded(monkeypatch):
    counted = Tally()
    counted.add(np.array([0.4, 0.6, 1e300, -5e6, 5e6]))
    assert counted.counts() == {-5_000_000: 1, 0: 1, 1: 1, 5_000_000: 1, tally.FARTHEST: 1}
    monkeypatch.setattr(tally, "MOST_VALUES", 10)
    counted.add(np.arange(0, 10**9, 10**7, dtype=np.int64))
    assert len(counted.counts()) == 10


def test_nothing():
    counted = Tally()
    counted.add(np.array([], np.float32))
    counted.add(np.array([], np.uint8))
    assert counted.counts() == {}
