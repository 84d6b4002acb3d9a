"""Time, memory and operations of the network, the authors' and MONAI's: `python benchmarks/network.py`.

Each cell is measured in a process of its own, so that peak memory is that of this cell; the rows take turns, and the best
of all rounds counts, so that other load on the machine does least harm. What the gates cost is a difference of a few per
cent, smaller than that between two processes: there the twin and the gated network take turns in one process.

bfloat16 is measured where the hardware computes it: a CPU that emulates it takes minutes for what float32 does in seconds,
and inference (`precision: auto`) takes float32 there as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "networks"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.peak_memory import peak as peak_bytes

ROOT = Path(__file__).resolve().parent.parent

ROWS = {
    "authors": "authors' network as described (2 gates)",
    "monai": "MONAI's AttentionUnet",
    "twin": "ours, no gates",
    "ours": "ours, 2 gates",
    "twin-folded": "ours, no gates, folded",
    "ours-folded": "ours, 2 gates, folded",
    "unet-6m-folded": "ours, U-Net of 6.44 M, folded",
    "unet-10m-folded": "ours, U-Net of 10.40 M, folded",
    "paper-folded": "ours, the gate of the paper's text, folded",
    "checkpointing": "ours, 2 gates, activation checkpointing",
}
CHANNELS = (16, 32, 64, 128, 256)
# of our rows, arguments of `AttentionUnet`; the wide U-Nets are those of the paper's Table 2
ARGUMENTS = {
    "twin": {"num_gates": 0},
    "ours": {},
    "unet-6m": {"num_gates": 0, "width": 1.047},
    "unet-10m": {"num_gates": 0, "width": 1.333},
    "paper": {"num_gates": 1, "gate": "paper", "gating_conv": False, "gate_width": 8},
    "checkpointing": {"checkpointing": True},
}


def build(row: str) -> nn.Module:
    """The network of one row, 1 channel in, 4 classes out."""
    torch.manual_seed(0)
    if row == "authors":
        from reference_networks import AuthorsNetwork

        return AuthorsNetwork(1, 4, CHANNELS)
    if row == "monai":
        from monai.networks.nets import AttentionUnet

        return AttentionUnet(3, 1, 4, CHANNELS, strides=(2, 2, 2, 2))
    from bundle.networks import AttentionUnet, fold_batch_norm

    network = AttentionUnet(3, 1, 4, **{"channels": CHANNELS, **ARGUMENTS[row.removesuffix("-folded")]})
    return fold_batch_norm(network) if row.endswith("folded") else network


def measure(row: str, task: str, precision: str, device: str, size: list[int], threads: int, repeats: int) -> dict[str, float]:
    """Seconds and seconds of all cores (best of the repeats) and peak memory in GB of one cell; for the task "flops", GFLOP and parameters.

    Other load on the machine changes the seconds of cores little, as long as threads that wait do so asleep
    (`OMP_WAIT_POLICY=passive`, set by `cell`).
    """
    torch.set_num_threads(threads)
    if task == "flops":
        from torch.utils.flop_counter import FlopCounterMode

        network = build(row)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        network = network.to("meta").eval()  # counting needs no numbers, but building does
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 1, *size, device="meta"))
        return {"gflop": counter.get_total_flops() / 1e9, "parameters": parameters}
    run = prepare(row, task, precision, device, size)
    seconds, core_seconds = [], []
    for _ in range(repeats + 1):
        synchronise(device)
        start, cores = time.perf_counter(), time.process_time()
        run()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
        core_seconds.append(time.process_time() - cores)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else peak_bytes() / 1e9
    return {"seconds": min(seconds), "core_seconds": min(core_seconds), "gb": peak}


def prepare(
    row: str, task: str, precision: str, device: str, size: list[int], batch: int = 1, *, plain: bool = False
) -> Callable[[], None]:
    """What is timed, for one row: a forward pass or a training step, of so many volumes at once.

    The authors' and MONAI's networks run in plain PyTorch (for bf16: autocast), ours in channels-last memory, and in bf16
    weights when folded. `plain` leaves ours in PyTorch's memory layout as well.
    """
    network, x = build(row).to(device), torch.randn(batch, 1, *size, device=device)
    if row not in ("authors", "monai") and not plain:
        network, x = network.to(memory_format=torch.channels_last_3d), x.contiguous(memory_format=torch.channels_last_3d)
    autocast = precision == "bf16"
    if autocast and row.endswith("folded"):
        network, x, autocast = network.bfloat16(), x.bfloat16(), False
    step = forward if task == "forward" else training_step
    return step(network, x, torch.autocast(device, torch.bfloat16, enabled=autocast))


def forward(network: nn.Module, x: Tensor, autocast: torch.autocast):
    """One forward pass in evaluation."""
    network.eval()

    def run() -> None:
        with torch.inference_mode(), autocast:
            network(x)

    return run


def training_step(network: nn.Module, x: Tensor, autocast: torch.autocast):
    """Forward, cross entropy, backward, Adam."""
    network.train()
    target = torch.randint(0, 4, (len(x), *x.shape[2:]), device=x.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        with autocast:
            logits = network(x)
        nn.functional.cross_entropy(logits.float(), target).backward()
        optimizer.step()

    return run


def synchronise(device: str) -> None:
    """Wait for the GPU where there is one."""
    if device == "cuda":
        torch.cuda.synchronize()


def cell(row: str, task: str, precision: str, device: str, options: argparse.Namespace) -> dict[str, float]:
    """`measure` in a process of its own."""
    return in_a_process([row, task, precision, device, options.size, options.threads, options.repeats])


def in_a_process(arguments: list) -> dict:
    """`measure` or, with "gates" first, `gates_in_turns`, in a process of its own; empty where it fails (out of memory, for instance)."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run([sys.executable, __file__, "--cell", json.dumps(arguments)], capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"{arguments}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def gates_in_turns(task: str, precision: str, device: str, size: list[int], threads: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of the twin and of the network with gates, one of each a turn, in one process."""
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {"twin": [], "ours": []}
    suffix = "-folded" if task == "forward" else ""
    steps = {row: prepare(row + suffix, task, precision, device, size) for row in seconds}
    for turn in range(repeats + 1):
        # each goes first every other turn
        for row in list(steps)[:: 1 if turn % 2 else -1]:
            synchronise(device)
            start = time.perf_counter()
            steps[row]()
            synchronise(device)
            if turn:
                seconds[row].append(time.perf_counter() - start)
    return seconds


def render_gates(options: argparse.Namespace) -> str:
    """What two gates add to the time of the twin, as a table in Markdown; forward passes with batch norms folded.

    Of the turns, the best of each network and their ratio, and the median and quartiles of the ratios within a turn, which
    other load on the machine distorts less.
    """
    lines = ["| device, task, precision | no gates | 2 gates | best | median (quartiles) of the turns |"]
    lines.append("| --- |" + " ---: |" * 4)
    for device, task, precision in columns(options):
        turns = max(2, options.turns if task == "forward" else options.turns // 8)  # a training step takes that much longer
        seconds = in_a_process(["gates", task, precision, device, options.size, options.threads, turns])
        if seconds:
            twin, ours = min(seconds["twin"]), min(seconds["ours"])
            ratios = [b / a for a, b in zip(seconds["twin"], seconds["ours"], strict=True)]
            best, low, median, high = (f"{100 * (ratio - 1):+.1f}" for ratio in (ours / twin, *statistics.quantiles(ratios, n=4)))
            lines.append(f"| {device} {task} {precision} | {twin:.3f} s | {ours:.3f} s | {best} % | {median} % ({low}, {high}) |")
    return "\n".join(lines)


def devices() -> list[str]:
    """The CPU, and the GPU where there is one."""
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def precisions(device: str) -> list[str]:
    """fp32, and bf16 where the device computes it natively."""
    from bundle.inferers.precision import choose_precision

    return ["fp32", *(["bf16"] if choose_precision("auto", torch.device(device)) is torch.bfloat16 else [])]


def columns(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Of the tables: device, task and precision."""
    return [(device, task, precision) for device in devices() for task in options.tasks for precision in precisions(device)]


def table(options: argparse.Namespace) -> dict[tuple[str, ...], dict[str, float]]:
    """All cells, by (row, task, precision, device): the least of each figure over the rounds."""
    results: dict[tuple[str, ...], dict[str, float]] = {}
    for row in options.rows:
        results[row, "flops", "", ""] = cell(row, "flops", "fp32", "cpu", options)
    for _ in range(options.rounds):
        for (device, task, precision), row in itertools.product(columns(options), options.rows):
            key = (row, task, precision, device)
            if key[1] == "training" and key[0].endswith("folded"):
                continue
            new, old = cell(*key, options), results.get(key, {})
            results[key] = {name: min(value, old.get(name, value)) for name, value in new.items()} or old
            print(*key, results[key], file=sys.stderr, flush=True)
    return results


def render(results: dict[tuple[str, ...], dict[str, float]], options: argparse.Namespace) -> str:
    """The results as a table in Markdown; on the CPU, the seconds of all cores together are in brackets.

    On a GPU, the operations per second that it reaches; compare with what the chip is sold for.
    """
    heads = columns(options)
    lines = ["| network | parameters | GFLOP | " + " | ".join(" ".join(head) for head in heads) + " |"]
    lines.append("| --- |" + " ---: |" * (len(heads) + 2))
    for row in options.rows:
        gflop = results[row, "flops", "", ""].get("gflop", float("nan"))
        parameters = results[row, "flops", "", ""].get("parameters")
        cells = ["-" if parameters is None else f"{parameters / 1e6:.2f} M", f"{gflop:.0f}"]
        for device, task, precision in heads:
            found = results.get((row, task, precision, device))
            if not found:
                cells.append("-")
            elif device == "cpu":
                cells.append(f"{found['seconds']:.2f} ({found['core_seconds']:.2f}) s, {found['gb']:.1f} GB")
            else:
                rate = f", {gflop / found['seconds'] / 1000:.0f} TFLOP/s" if task == "forward" else ""
                cells.append(f"{1000 * found['seconds']:.1f} ms, {found['gb']:.1f} GB{rate}")
        lines.append(f"| {ROWS[row]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=[160, 160, 96])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="timed runs in each process, after one to warm up")
    parser.add_argument("--rounds", type=int, default=2, help="how often each cell is measured")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--tasks", nargs="+", choices=["forward", "training"], default=["forward", "training"])
    parser.add_argument("--gates", action="store_true", help="only the second table, what the gates cost")
    parser.add_argument("--turns", type=int, default=40, help="of each of the two, for what the gates cost; an eighth of it in training")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        first, *others = json.loads(options.cell)
        print(json.dumps(gates_in_turns(*others) if first == "gates" else measure(first, *others)))
        return
    if options.gates:
        print(render_gates(options))
        return
    results = table(options)
    print(render(results, options), render_gates(options), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps([[*key, value] for key, value in results.items()], indent=1))


if __name__ == "__main__":
    main()
