"""The rows of docs/performance.md on a GPU: `python benchmarks/gpu.py --write "One H100"`.

Milliseconds are the median of at least six calls after three, by CUDA's events; memory is PyTorch's peak. Nothing of PyTorch's settings is
changed: cuDNN chooses by its own rules, and computes float32 convolutions in TF32. All cells take about 50 s. `--figures FILE` keeps the
figures as JSON; where the file is there already, it is read and nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import network

from benchmarks.performance_page import PAGE, Row, now, sections, table, write

SIZE, VOLUME, BATCH = [160, 160, 96], [192, 192, 180], 2
PRECISIONS = ("bf16", "fp32")
AUTHORS, MONAI = "the authors' network", "MONAI's `AttentionUnet`"

Figures = dict[str, dict[str, float]]


def cells(device: str, size: list[int], volume: list[int]) -> Iterator[tuple[str, Callable[[], Callable[[], object]]]]:
    """Name of each cell, and what makes the call that is timed."""
    for precision in PRECISIONS:
        step = partial(network.prepare, task="training", precision=precision, device=device, size=size, batch=BATCH)
        forward = partial(network.prepare, task="forward", precision=precision, device=device, size=size)
        for row in ("authors", "monai", "twin", "ours"):
            yield f"step {precision} {row}", partial(step, row)
        yield f"step {precision} plain", partial(step, "ours", plain=True)
        for row in ("authors", "monai", "twin-folded", "ours-folded"):
            yield f"forward {precision} {row}", partial(forward, row)
        yield f"forward {precision} plain", partial(forward, "ours-folded", plain=True)
        for way in ("whole", "windows"):
            yield f"volume {precision} {way}", partial(inference, precision, way == "whole", device, size, volume)
    yield "step bf16 checkpointing", partial(network.prepare, "checkpointing", "training", "bf16", device, size, BATCH)


def inference(precision: str, whole: bool, device: str, size: list[int], volume: list[int]) -> Callable[[], object]:
    """A call of the inferer on a volume that is on the device: fold the batch norms, cast the weights, network, logits in float32."""
    from bundle.inferers import VolumeInferer
    from bundle.networks import fold_batch_norm

    made = network.build("ours").to(device, memory_format=torch.channels_last_3d).eval()
    inferer = VolumeInferer(roi_size=size, precision=precision, whole=whole, memory_gb=20, prepare=fold_batch_norm)
    x = torch.randn(1, 1, *volume, device=device)
    return lambda: inferer(x, made)


def timed(call: Callable[[], object], device: str, least: int = 6, seconds: float = 0.5, before: int = 3) -> dict[str, float]:
    """Median milliseconds of at least so many calls, after some that do not count, and peak memory in GB."""
    cuda = device == "cuda"
    for _ in range(before):
        call()
    network.synchronise(device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < least or time.perf_counter() - began < seconds:
        if cuda:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            torch.cuda.synchronize()
            times.append(first.elapsed_time(last))
        else:
            start = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - start))
    return {"ms": round(statistics.median(times), 2), "gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if cuda else 0.0}


def measure(device: str, size: list[int], volume: list[int], **how: float) -> Figures:
    """All cells, one after the other, as `timed` does; one that fails, for want of memory say, is told of and left out."""
    found: Figures = {}
    for name, make in cells(device, size, volume):
        try:
            found[name] = timed(make(), device, **how)
            print(name, found[name], flush=True)
        except RuntimeError as error:
            print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
        if device == "cuda":
            torch.cuda.empty_cache()
    return found


def rows(figures: Figures) -> list[Row]:
    """The lines of the table; those of cells that are missing are left out."""
    patch = "x".join(map(str, SIZE))
    made: list[Row] = []

    def compare(what: str, ours: str, other: str, limit: float | None = None) -> None:
        """How many times as fast as another one, with a limit from below."""
        if ours in figures and other in figures:
            ratio = figures[other]["ms"] / figures[ours]["ms"]
            measured = f"{_cell(figures[ours])} against {_cell(figures[other])}: {ratio:.2f} times as fast"
            made.append(Row(what, measured, f"{limit:g} times" if limit else "", None if limit is None else ratio >= limit))

    def gates(what: str, ours: str, twin: str) -> None:
        """What the gates add, with a limit of 5 %."""
        if ours in figures and twin in figures:
            more = figures[ours]["ms"] / figures[twin]["ms"] - 1
            made.append(Row(what, f"{100 * more:+.0f} %, {_cell(figures[ours])} against {_cell(figures[twin])}", "5 %", more <= 0.05))

    for precision in PRECISIONS:
        for other, name, limit in (("authors", AUTHORS, 2.0), ("monai", MONAI, 1.5)):
            compare(
                f"training step of {patch}, batch {BATCH}, over {name}, {precision}",
                f"step {precision} ours",
                f"step {precision} {other}",
                limit,
            )
        gates(f"two gates over the twin, training step, {precision}", f"step {precision} ours", f"step {precision} twin")
        compare(f"training step, channels last over plain memory, {precision}", f"step {precision} ours", f"step {precision} plain")
        for other, name in (("authors", AUTHORS), ("monai", MONAI)):
            compare(f"forward pass of {patch} over {name}, {precision}", f"forward {precision} ours-folded", f"forward {precision} {other}")
        gates(f"two gates over the twin, forward pass, {precision}", f"forward {precision} ours-folded", f"forward {precision} twin-folded")
        compare(
            f"forward pass, channels last over plain memory, {precision}", f"forward {precision} ours-folded", f"forward {precision} plain"
        )
        compare(
            f"volume of {'x'.join(map(str, VOLUME))}, whole over windows of {patch}, {precision}",
            *(f"volume {precision} {way}" for way in ("whole", "windows")),
        )
    compare(f"training step of {patch}, batch {BATCH}, with checkpointing over without, bf16", "step bf16 checkpointing", "step bf16 ours")
    return made


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['ms']:.1f} ms, {figure['gb']:.1f} GB"


def main() -> None:
    """Measure, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, help="JSON of the figures: read where it is there, else written")
    parser.add_argument("--machine", help="what it is called above the table")
    parser.add_argument("--write", metavar="HEADING", help="begin of the heading of a section of docs/performance.md")
    options = parser.parse_args()
    if options.write:
        sections(PAGE, options.write)  # minutes before it is needed
    if options.figures and options.figures.is_file():
        figures = json.loads(options.figures.read_text(encoding="utf-8"))
    elif torch.cuda.is_available():
        figures = measure("cuda", SIZE, VOLUME)
        if options.figures:
            options.figures.parent.mkdir(parents=True, exist_ok=True)
            options.figures.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    else:
        raise SystemExit("there is no GPU: run it where there is one, or give --figures a file that was written there")
    when = now()
    if options.write:
        write(PAGE, options.write, options.machine or torch.cuda.get_device_name(), "python benchmarks/gpu.py", rows(figures), when)
    print(table(rows(figures), when))


if __name__ == "__main__":
    main()
