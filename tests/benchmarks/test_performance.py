"""The benchmark behind docs/performance.md: the rate of a convolution, and the table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import bundle

spec = importlib.util.spec_from_file_location("benchmark_performance", Path(bundle.root()) / "benchmarks" / "performance.py")
performance = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = performance
spec.loader.exec_module(performance)


def test_the_rate_of_a_convolution_counts_a_product_and_a_sum_for_each_weight_and_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 * 27 * 2 * 2 * 60 = 12,960 operations; a clock that steps by a microsecond makes it 12.96 GFLOP/s."""
    ticks = iter(range(100))
    monkeypatch.setattr(performance.time, "perf_counter", lambda: next(ticks) * 1e-6)
    assert performance.plain_rate(2, (3, 4, 5), "fp32") == pytest.approx(12.96)


def test_the_table_has_date_commit_command_and_limits() -> None:
    lines = performance.table([("start", "9.0 s", "7.3 s")], "two cores", "python benchmarks/performance.py").splitlines()
    assert lines[0].startswith("**two cores**, 20") and lines[0].endswith("`python benchmarks/performance.py`:")
    assert lines[-3:] == ["| what | measured | limit |", "| --- | --- | --- |", "| start | 9.0 s | 7.3 s |"]
