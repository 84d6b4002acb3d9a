"""The benchmark of the network measures every row, and its table names what is missing."""

from __future__ import annotations

import argparse
import importlib.util

import pytest


@pytest.fixture(scope="module")
def benchmark(repository):
    spec = importlib.util.spec_from_file_location("benchmark_network", repository / "benchmarks" / "network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.CHANNELS = (2, 3, 4, 5, 6)
    return module


CELLS = [("authors", "forward", "fp32"), ("ours", "training", "bf16"), ("ours-folded", "forward", "bf16")]


@pytest.mark.parametrize(("row", "task", "precision"), CELLS)
def test_a_cell(benchmark, row, task, precision):
    cell = benchmark.measure(row, task, precision, "cpu", [32, 32, 32], 1, 1)
    assert 0 < cell["core_seconds"] and 0 < cell["seconds"] < 60
    assert 0.05 < cell["gb"] < 20


def parameters(benchmark, rows) -> dict[str, int]:
    return {row: sum(p.numel() for p in benchmark.build(row).parameters()) for row in rows}


def test_every_row_is_a_network_of_its_own(benchmark, monkeypatch):
    """Folding takes the parameters of batch norms away; the wide U-Nets are those of Table 2 at the channels of the paper."""
    counts = parameters(benchmark, benchmark.ROWS)
    assert counts["checkpointing"] == counts["ours"] > counts["ours-folded"] != counts["twin-folded"]
    monkeypatch.setattr(benchmark, "CHANNELS", (16, 32, 64, 128, 256))
    counts = parameters(benchmark, ["unet-6m-folded", "unet-10m-folded"])
    assert 6.42e6 < counts["unet-6m-folded"] < 6_444_328 and 10.37e6 < counts["unet-10m-folded"] < 10_403_190


def test_operations_of_a_network(benchmark):
    """The first convolution alone, 32**3 voxels times 27 taps times 2 channels times 2, is 3.5 MFLOP: all are a few times that."""
    gflop = benchmark.measure("authors", "flops", "fp32", "cpu", [32, 32, 32], 1, 1)["gflop"]
    assert 0.0035 * 3 < gflop < 0.1


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_where_the_cpu_computes_it(benchmark, monkeypatch, native):
    monkeypatch.setattr("bundle.inferers.precision.cpu_has_bf16", lambda: native)
    monkeypatch.setattr(benchmark, "devices", lambda: ["cpu"])
    heads = [("cpu", "forward", "fp32"), ("cpu", "forward", "bf16")]
    assert benchmark.columns(argparse.Namespace(tasks=["forward"])) == heads[: 2 if native else 1]


def test_table(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "columns", lambda options: [("cpu", "forward", "fp32"), ("cuda", "forward", "bf16")])
    results = {
        ("ours", "flops", "", ""): {"gflop": 347.4, "parameters": 6473322},
        ("ours", "forward", "fp32", "cpu"): {"seconds": 1.234, "core_seconds": 2.4, "gb": 1.5},
        ("ours", "forward", "bf16", "cuda"): {"seconds": 0.01, "core_seconds": 0.01, "gb": 0.5},
        ("monai", "flops", "", ""): {"gflop": 500.0},
    }
    lines = benchmark.render(results, argparse.Namespace(rows=["ours", "monai"])).splitlines()
    assert lines[0] == "| network | parameters | GFLOP | cpu forward fp32 | cuda forward bf16 |"
    assert lines[2] == "| ours, 2 gates | 6.47 M | 347 | 1.23 (2.40) s, 1.5 GB | 10.0 ms, 0.5 GB, 35 TFLOP/s |"
    assert lines[3] == "| MONAI's AttentionUnet | - | 500 | - | - |"


def test_what_the_gates_cost(benchmark, monkeypatch):
    """Ratios within the turns are 1.1, 1.2, 0.9, 1.0, 1.05; the best of each are 2.0 and 1.8."""
    seconds = {"twin": [2.0, 2.0, 2.0, 3.0, 4.0], "ours": [2.2, 2.4, 1.8, 3.0, 4.2]}
    monkeypatch.setattr(benchmark, "columns", lambda options: [("cpu", "forward", "fp32"), ("cpu", "forward", "bf16")])
    monkeypatch.setattr(benchmark, "in_a_process", lambda arguments: seconds if arguments[2] == "bf16" else {})
    options = argparse.Namespace(tasks=["forward"], size=[16, 16, 16], threads=1, turns=5)
    lines = benchmark.render_gates(options).splitlines()
    assert lines[2:] == ["| cpu forward bf16 | 2.000 s | 1.800 s | -10.0 % | +5.0 % (-5.0, +15.0) |"]


def test_turns_of_the_twin_and_the_gated_network(benchmark):
    seconds = benchmark.gates_in_turns("forward", "fp32", "cpu", [16, 16, 16], 1, 3)
    assert {row: len(values) for row, values in seconds.items()} == {"twin": 3, "ours": 3}
    assert min(seconds["twin"]) > 0
