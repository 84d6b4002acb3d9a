"""The table of a GPU: each cell is a call that runs, and each line says what its cells say."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def benchmark(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(repository / "benchmarks"), *sys.path])
    module = import_module("gpu")
    monkeypatch.setattr(module.network, "CHANNELS", (2, 3, 4, 5, 6))
    return module


def _without(word: str, cells: Callable) -> Callable:
    return lambda *what: ((name, make) for name, make in cells(*what) if word not in name)


def test_every_cell_runs(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32: in bfloat16 some CPUs need minutes, and the gradients of others are wrong."""
    assert len([name for name, _ in benchmark.cells("cpu", [], [])]) == 25
    monkeypatch.setattr(benchmark, "PRECISIONS", ("fp32",))
    wanted = [name for name, _ in benchmark.cells("cpu", [], []) if "bf16" not in name]
    monkeypatch.setattr(benchmark, "cells", _without("bf16", benchmark.cells))
    figures = benchmark.measure("cpu", [32, 32, 32], [32, 40, 32], least=1, seconds=0, before=0)
    assert list(figures) == wanted and len(figures) == 12
    assert all(figure["ms"] > 0 for figure in figures.values())


def test_lines_say_how_many_times_and_whether_the_limit_is_kept(benchmark: ModuleType) -> None:
    names = ("step bf16 ours", "step bf16 authors", "step bf16 monai", "step bf16 twin", "step bf16 checkpointing")
    figures = {name: {"ms": ms, "gb": 1.5} for name, ms in zip(names, (80.0, 120.0, 130.0, 78.0, 100.0), strict=True)}
    authors, monai, twin, checkpointing = benchmark.rows(figures)
    assert authors.measured == "80.0 ms, 1.5 GB against 120.0 ms, 1.5 GB: 1.50 times as fast"
    assert (authors.limit, authors.kept, monai.limit, monai.kept) == ("2 times", False, "1.5 times", True)
    assert (twin.measured[:6], twin.limit, twin.kept) == ("+3 %, ", "5 %", True)
    assert checkpointing.measured.endswith(": 0.80 times as fast") and checkpointing.kept is None


@pytest.mark.parametrize("missing", ["step bf16 ours", "step bf16 twin"])
def test_a_cell_that_failed_leaves_its_lines_out(benchmark: ModuleType, missing: str) -> None:
    figures = {name: {"ms": 1.0, "gb": 1.0} for name in ("step bf16 ours", "step bf16 twin") if name != missing}
    assert benchmark.rows(figures) == []
