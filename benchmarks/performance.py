"""The rows of docs/performance.md: start, long scans, a process that stays, the network against its arithmetic, and training.

    python benchmarks/performance.py --before e8896c9 --write "Two cores with AMX"
    python benchmarks/performance.py --before e8896c9 --isa AVX2 --write "Two cores with AVX2 alone"
    python benchmarks/performance.py --only start,network --rounds 1

Each row is the best of the rounds; seconds are of the clock, so nothing else should run. Every figure has its limit beside it, and
whether it is kept. `--before COMMIT` measures the start of that commit in the same run, each round one of it and one of this.
`--isa AVX2` holds PyTorch and oneDNN to what older CPUs have. `--write HEADING` puts the rows into that section of docs/performance.md;
those that were not measured this time stay as they are.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.performance_page import PAGE, Row, now, sections, table, write

ROOT = Path(__file__).resolve().parent.parent

# channels and grid of plain convolutions (3x3x3, channels last); the fastest one is what these cores can do
PLAIN = ((32, (160, 160, 96)), (64, (80, 80, 48)), (128, (80, 80, 48)), (256, (40, 40, 24)))
ISA = {"AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
STAYS = """
import json, sys, time
begin = time.perf_counter()
import torch
torch.set_num_threads(int(sys.argv[2]))
from bundle.engines import segment
times = []
for _ in range(3):
    segment(sys.argv[1])
    times.append(time.perf_counter() - begin)
    begin = time.perf_counter()
print(json.dumps(times))
"""
IMPORTS = {
    "by itself": "import monai.bundle",
    "in a run": "from bundle import later_imports\nwith later_imports.deferred():\n    import monai.bundle",
}


def run(dataset: Path, out: Path, threads: int, root: Path = ROOT, **keys: object) -> dict[str, float]:
    """Wall time, CPU time and peak memory of inference in a process of its own; the code is that below `root`."""
    import inference

    words = {"dataset_dir": dataset, "output_dir": out, "overwrite": True, "threads": threads, "bundle_root": root, **keys}
    # a commit whose own front begins before MONAI is imported is started by it
    front = ["bundle", "run", "inference"] if (root / "bundle" / "read_ahead.py").is_file() else ["monai.bundle", "run"]
    command = [sys.executable, "-m", *front]
    command += [] if "config_file" in words else ["--config_file", str(root / "configs" / "inference.json")]
    command += [part for key, value in words.items() for part in (f"--{key}", str(value))]
    before, inference.ROOT = inference.ROOT, root
    try:
        return inference.measure(command, threads, out.with_suffix(".log"))
    finally:
        inference.ROOT = before


def scan(folder: Path, slices: int, spacing: tuple[float, float, float] = (0.75, 0.75, 1.5)) -> Path:
    """A folder with one scan of 512x512 voxels in so many slices; the body is the same whatever the spacing."""
    path = folder / f"scan_{slices}_{spacing[0]:g}" / "scan.nii.gz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        # in a process of its own: the peak of what is measured begins with the memory that this one holds when it starts it
        writer = multiprocessing.get_context("spawn").Process(target=_write_scan, args=(path, slices, spacing))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit(f"{path} could not be written")
    return path.parent


def _write_scan(path: Path, slices: int, spacing: tuple[float, float, float]) -> None:
    import inference

    inference.SHAPE, inference.SPACING = (512, 512, slices), spacing
    inference.write_scan(path, 0)


def start(options: argparse.Namespace) -> list[Row]:
    """One scan from cold, and what importing MONAI takes of it; with `--before` against another commit."""
    folder, roots = scan(options.out, 240), {"now": ROOT}
    if options.before:
        roots["before"] = options.out / "before"
        if not roots["before"].is_dir():
            subprocess.run(
                ["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(roots["before"].resolve()), options.before], check=True
            )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(options.rounds + 1):
        for name, root in roots.items():
            one = run(folder, options.out / f"start_{name}", options.threads, root)
            # the first of each compiles modules, and brings files into memory
            found[name] += [one] if turn else []
        for name, code in IMPORTS.items() if turn else ():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
            imports[name].append(time.perf_counter() - began)
    best = {name: min(one["wall_s"] for one in several) for name, several in found.items()}
    words = f"{best['now']:.1f} s, {min(one['cpu_s'] for one in found['now']):.1f} CPU s"
    limit, kept = "0.7 of the commit before", None
    if options.before:
        share = best["now"] / best["before"]
        words, limit, kept = f"{words}, {share:.2f} of it", f"0.7 of the {best['before']:.1f} s of `{options.before}`", share <= 0.7
    plain, ours = min(imports["by itself"]), min(imports["in a run"])
    rows = [Row("one scan of 512x512x240 from cold", words, limit, kept)]
    return [*rows, Row("of this importing MONAI", f"{ours:.1f} s; {plain:.1f} s by itself")]


def stays(options: argparse.Namespace) -> list[Row]:
    """`segment()` in a process that stays: the first answer with all imports, and the ones after it."""
    path = scan(options.out, 240) / "scan.nii.gz"
    answer = subprocess.run(
        [sys.executable, "-c", STAYS, str(path), str(options.threads)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    first, *others = json.loads(answer.stdout.splitlines()[-1])
    share = min(others) / first
    words = f"{min(others):.1f} s, {share:.2f} of the {first:.1f} s of the first call"
    return [Row("`segment()` again in a process that stays", words, "0.3 of the first call", share <= 0.3)]


def long(options: argparse.Namespace) -> list[Row]:
    """A scan of 512x512x807, in float32 and where there is bfloat16 in that; and what a wide field of view and a cascade change."""
    folder, rows = scan(options.out, 807), []
    for precision, limit in limits(fp32=34, bf16=18):
        found = [run(folder, options.out / "long", options.threads, precision=precision) for _ in range(min(2, options.rounds))]
        seconds, memory = min(one["wall_s"] for one in found), min(one["peak_gb"] for one in found)
        kept = seconds < limit and memory <= 2.2
        rows.append(Row(f"512x512x807, {precision}", f"{seconds:.1f} s, {memory:.2f} GB", f"{limit:g} s, 2.2 GB", kept))
    # the last precision from here on: bfloat16 where it is there
    cascade = run(folder, options.out / "cascade", options.threads, precision=precision, config_file=configs("cascade"))
    words = f"{cascade['wall_s']:.1f} s, {cascade['wall_s'] / seconds:.2f} of it, {cascade['peak_gb']:.2f} GB"
    rows.append(Row(f"the same with `cascade.json`, {precision}", words, "less than without", cascade["wall_s"] < seconds))
    narrow, wide = (network_seconds(options, spacing, precision) for spacing in ((0.75, 0.75, 1.5), (1.25, 1.25, 1.5)))
    words = f"network {wide:.1f} s, {wide / narrow:.2f} times that of 384 mm"
    return [*rows, Row(f"the same body in a field of view of 640 mm, {precision}", words, "1.1 times", wide <= 1.1 * narrow)]


def configs(*overlays: str) -> str:
    """What `--config_file` gets for inference with these overlays."""
    folder = ROOT / "configs"
    return str([str(folder / "inference.json"), *(str(folder / "overlays" / "inference" / f"{name}.json") for name in overlays)])


def small(options: argparse.Namespace) -> list[Row]:
    """The small network of `fast.json` beside the large one, on the same scan."""
    rows = []
    for precision, limit in limits(fp32=4, bf16=4):
        large, fast = (network_seconds(options, (0.75, 0.75, 1.5), precision, *overlay) for overlay in ((), ("fast",)))
        words = f"network {fast:.2f} s against {large:.2f} s: {large / fast:.1f} times as fast"
        rows.append(Row(f"one scan of 512x512x240 with `fast.json`, {precision}", words, f"{limit:g} times", large >= limit * fast))
    return rows


def network_seconds(options: argparse.Namespace, spacing: tuple[float, float, float], precision: str, *overlays: str) -> float:
    """Seconds of the network alone for one scan of 240 slices, as its run notes them; the best of two."""
    found = []
    for _ in range(2):
        out = options.out / "field"
        run(scan(options.out, 240, spacing), out, options.threads, precision=precision, config_file=configs(*overlays))
        found.append(json.loads((out / "run.json").read_text())["cases"][0]["seconds"]["network"])
    return min(found)


def network(options: argparse.Namespace) -> list[Row]:
    """Seconds of the network over those that its arithmetic would take at the rate of a plain large convolution; gates over the twin."""
    import network as side_by_side
    import torch

    size, rows = [160, 160, 96], []
    torch.set_num_threads(options.threads)
    gflop = side_by_side.measure("ours-folded", "flops", "fp32", "cpu", size, options.threads, 1)["gflop"]
    for precision, limit in limits(fp32=1.3, bf16=1.6):
        rate = max(plain_rate(channels, grid, precision) for channels, grid in PLAIN)
        turns = (8 if precision == "fp32" else 20) * options.rounds
        times = side_by_side.gates_in_turns("forward", precision, "cpu", size, options.threads, turns)
        rate = max(rate, *(plain_rate(channels, grid, precision) for channels, grid in PLAIN))
        twin, ours = min(times["twin"]), min(times["ours"])
        figures = f"{ours:.2f} s for {gflop:.0f} GFLOP, {ours * rate / gflop:.2f} times the time at {rate:.0f} GFLOP/s"
        rows.append(Row(f"network, 160x160x96, {precision}", figures, f"{limit} times", ours * rate / gflop <= limit))
        words = f"{100 * (ours / twin - 1):+.1f} % (best of {turns} turns)"
        rows.append(Row(f"two gates over the twin, {precision}", words, "5 %", ours <= 1.05 * twin))
    return rows


def plain_rate(channels: int, grid: tuple[int, int, int], precision: str) -> float:
    """GFLOP/s of one 3x3x3 convolution from and to so many channels."""
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    layout = {"memory_format": torch.channels_last_3d}
    x = torch.randn(1, channels, *grid).to(dtype).contiguous(**layout)
    layer = torch.nn.Conv3d(channels, channels, 3, padding=1, bias=False).to(dtype).to(**layout)
    times = []
    with torch.inference_mode():
        for _ in range(4):
            began = time.perf_counter()
            layer(x)
            times.append(time.perf_counter() - began)
    return 2 * 27 * channels**2 * x[0, 0].numel() / min(times) / 1e9


def training(options: argparse.Namespace) -> list[Row]:
    """A training step beside the authors' and MONAI's networks."""
    import performance_training

    rows = []
    size = options.training_size
    for precision, _ in limits(fp32=None, bf16=None):
        seconds = performance_training.steps_in_turns(precision, size, options.threads, options.rounds)
        for other, name, limit in (("authors", "the authors' network", 2.0), ("monai", "MONAI's `AttentionUnet`", 1.5)):
            ratio = seconds[other] / seconds["ours"]
            words = f"{seconds['ours']:.2f} s against {seconds[other]:.2f} s: {ratio:.2f} times as fast"
            what = f"training step of {'x'.join(map(str, size))} over {name}, {precision}"
            rows.append(Row(what, words, f"{limit:g} times", ratio >= limit))
        kept, left = performance_training.kept_and_not(precision, size, options.threads, options.rounds)
        words = f"{kept[0]:.2f} s and {kept[1]:.2f} GB against {left[0]:.2f} s and {left[1]:.2f} GB without: {kept[0] / left[0]:.2f} of it"
        what = f"training step of {'x'.join(map(str, size))}, freed memory kept as by `train.json`, {precision}"
        rows.append(Row(what, words, "less than without", kept[0] < left[0]))
    return rows


def memory(options: argparse.Namespace) -> list[Row]:
    """Peak memory of a process that trains a step with checkpointing."""
    import performance_training

    seconds, gigabytes = performance_training.checkpointed_step([160, 160, 96], 2, options.threads)
    words = f"{gigabytes:.2f} GB, {seconds:.1f} s"
    return [Row("training step of 160x160x96, batch 2, checkpointing, fp32", words, "3 GB", gigabytes < 3)]


def data(options: argparse.Namespace) -> list[Row]:
    """Share of the time of training that waits for data, with one worker."""
    import performance_training

    waiting, whole, steps = performance_training.waits(options.out, options.training_size, options.threads)
    words = f"{100 * waiting / whole:.1f} % of {steps} steps of {whole / steps:.1f} s"
    return [Row("training waits for data, one worker", words, "5 %", waiting <= 0.05 * whole)]


TASKS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "start": start,
    "stays": stays,
    "long": long,
    "small": small,
    "network": network,
    "training": training,
    "memory": memory,
    "data": data,
}


def limits(**of_precision: float | None) -> list[tuple[str, float | None]]:
    """Precision and limit, without bfloat16 where this CPU, or what it is held to, does not compute it."""
    from bundle.inferers.gradients import cpu_has_bf16

    return [(precision, limit) for precision, limit in of_precision.items() if precision != "bf16" or cpu_has_bf16()]


def this_machine(isa: str | None) -> str:
    """The processor as Linux names it, and how many cores there are."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    name = found[1].replace("(R)", "") if found else platform.processor() or platform.machine()
    flags = "" if isa else next((f" with {word}" for word in ("AMX", "AVX512_BF16") if has(word)), "")
    return f"{os.cpu_count()} cores of {name}{flags}" + (f", held to {isa}" if isa else "")


def has(word: str) -> bool:
    """Whether Linux says that this CPU has some instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return {"AMX": "amx_bf16", "AVX512_BF16": "avx512_bf16"}[word] in text


def main() -> None:
    """Measure, print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/performance"))
    parser.add_argument("--machine", help="what it is called above the table; by default what Linux calls it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--training-size", type=int, nargs=3, default=[128, 128, 96], help="voxels of a patch in the rows of training")
    parser.add_argument("--before", help="a commit whose start is measured too")
    parser.add_argument("--isa", choices=ISA, help="hold PyTorch and oneDNN to these instructions")
    parser.add_argument("--write", metavar="HEADING", help="begin of the heading of a section of docs/performance.md")
    parser.add_argument("--only", default=",".join(TASKS), help="some of " + ", ".join(TASKS))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in TASKS]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(TASKS)}")
    if options.write:
        sections(PAGE, options.write)  # minutes before it is needed
    # before torch is imported, and for all processes: like a user's, they may keep compiled modules
    os.environ |= ISA.get(options.isa, {}) | {"OMP_NUM_THREADS": str(options.threads)}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    when = now()
    machine = options.machine or this_machine(options.isa)
    command = " ".join(["python", "benchmarks/performance.py", *(f'"{word}"' if " " in word else word for word in sys.argv[1:])])
    rows: list[Row] = []
    for name in names:
        began = time.perf_counter()
        rows += (found := TASKS[name](options))
        print(f"{name}: {time.perf_counter() - began:.0f} s", *(" | ".join(row.cells("")[:4]) for row in found), sep="\n  ", flush=True)
        if options.write:
            # after each part, so that what is measured is there when a later one fails
            write(PAGE, options.write, machine, command, found, when)
    print(f"\n{machine}, `{command}`:\n\n{table(rows, when)}")


if __name__ == "__main__":
    main()
