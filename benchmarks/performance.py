"""The rows of docs/performance.md: start, long scans, a process that stays, and the network against its arithmetic.

    python benchmarks/performance.py --out runs/performance --machine "2 cores of an EPYC, AVX2"
    python benchmarks/performance.py --out runs/performance --only start,network --rounds 1

Each row is the best of the rounds; seconds are of the clock, so nothing else should run. Every figure has its limit beside it.
`--before COMMIT` measures the start of that commit in the same run, each round one of it and one of this.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
# channels and grid of plain convolutions (3x3x3, channels last); the fastest one is what these cores can do
PLAIN = ((32, (160, 160, 96)), (64, (80, 80, 48)), (128, (80, 80, 48)), (256, (40, 40, 24)))
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


def run(dataset: Path, out: Path, threads: int, root: Path = ROOT, **keys: object) -> dict[str, float]:
    """Wall time, CPU time and peak memory of inference in a process of its own; the code is that below `root`."""
    import inference

    words = {"dataset_dir": dataset, "output_dir": out, "overwrite": True, "threads": threads, "bundle_root": root, **keys}
    # a commit whose own front begins before MONAI is imported is started by it
    front = ["bundle", "run", "inference"] if (root / "bundle" / "read_ahead.py").is_file() else ["monai.bundle", "run"]
    command = [sys.executable, "-m", *front, "--config_file", str(root / "configs" / "inference.json")]
    command += [part for key, value in words.items() for part in (f"--{key}", str(value))]
    before, inference.ROOT = inference.ROOT, root
    try:
        return inference.measure(command, threads, out.with_suffix(".log"))
    finally:
        inference.ROOT = before


def scan(folder: Path, slices: int) -> Path:
    """A folder with one scan of 512x512 voxels in so many slices."""
    import inference

    path = folder / f"scan_{slices}" / "scan.nii.gz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        inference.SHAPE = (512, 512, slices)
        inference.write_scan(path, 0)
    return path.parent


def start(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """One scan from cold, and what importing MONAI takes of it; with `--before` against another commit."""
    folder, rows = scan(options.out, 240), []
    roots = {"now": ROOT}
    if options.before:
        roots["before"] = options.out / "before"
        if not roots["before"].is_dir():
            subprocess.run(
                ["git", "-C", str(ROOT), "worktree", "add", "-q", "--detach", str(roots["before"].resolve()), options.before], check=True
            )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    imports = []
    for _ in range(options.rounds):
        for name, root in roots.items():
            found[name].append(run(folder, options.out / f"start_{name}", options.threads, root))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import monai.bundle"], check=True, capture_output=True)
        imports.append(time.perf_counter() - began)
    best = {name: min(one["wall_s"] for one in several) for name, several in found.items()}
    limit = f"0.7 of {best['before']:.1f} s, which `{options.before}` takes" if options.before else "0.7 of the commit before"
    rows.append(("one scan of 512x512x240 from cold", f"{best['now']:.1f} s, {min(o['cpu_s'] for o in found['now']):.1f} CPU s", limit))
    rows.append(("of this `import monai.bundle`", f"{min(imports):.1f} s", "it is MONAI's"))
    return rows


def stays(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """`segment()` in a process that stays: the first answer with all imports, and the ones after it."""
    path = scan(options.out, 240) / "scan.nii.gz"
    answer = subprocess.run(
        [sys.executable, "-c", STAYS, str(path), str(options.threads)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    first, *others = json.loads(answer.stdout.splitlines()[-1])
    return [("`segment()` again in a process that stays", f"{min(others):.1f} s, {min(others) / first:.2f} of the first call", "0.3")]


def long(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """A scan of 512x512x807, in float32 and where there is bfloat16 in that."""
    from bundle.inferers.gradients import cpu_has_bf16

    folder, rows = scan(options.out, 807), []
    for precision, limit in [("fp32", 34), *([("bf16", 18)] if cpu_has_bf16() else [])]:
        found = [run(folder, options.out / "long", options.threads, precision=precision) for _ in range(options.rounds)]
        figures = f"{min(one['wall_s'] for one in found):.1f} s, {min(one['peak_gb'] for one in found):.2f} GB"
        rows.append((f"512x512x807, {precision}", figures, f"{limit} s, 2.2 GB"))
    return rows


def network(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Seconds of the network over those that its arithmetic would take at the rate of a plain large convolution; gates over the twin."""
    import network as side_by_side
    import torch

    from bundle.inferers.gradients import cpu_has_bf16

    size, rows = [160, 160, 96], []
    torch.set_num_threads(options.threads)
    gflop = side_by_side.measure("ours-folded", "flops", "fp32", "cpu", size, options.threads, 1)["gflop"]
    for precision, limit in [("fp32", 1.3), *([("bf16", 1.6)] if cpu_has_bf16() else [])]:
        rate = max(plain_rate(channels, grid, precision) for channels, grid in PLAIN)
        passes = {row: side_by_side.prepare(row, "forward", precision, "cpu", size) for row in ("twin-folded", "ours-folded")}
        times: dict[str, list[float]] = {row: [] for row in passes}
        for turn in range(max(4, 4 * options.rounds)):
            for row, one in passes.items():
                began = time.perf_counter()
                one()
                times[row].append(time.perf_counter() - began if turn else float("inf"))
        twin, ours = min(times["twin-folded"]), min(times["ours-folded"])
        figures = f"{ours:.2f} s for {gflop:.0f} GFLOP, {ours * rate / gflop:.2f} times the time at {rate:.0f} GFLOP/s"
        rows.append((f"network, 160x160x96, {precision}", figures, f"{limit} times"))
        rows.append((f"two gates over the twin, {precision}", f"{100 * (ours / twin - 1):+.1f} %", "5 %"))
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


TASKS = {"start": start, "stays": stays, "long": long, "network": network}


def table(rows: list[tuple[str, str, str]], machine: str, command: str) -> str:
    """The table of one machine, as docs/performance.md has it."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    lines = [f"**{machine}**, {datetime.date.today().isoformat()}, `{commit or 'no git'}`, `{command}`:", ""]
    lines += ["| what | measured | limit |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/performance"))
    parser.add_argument("--machine", default="this machine", help="what it is called in the table")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", help="a commit whose start is measured too")
    parser.add_argument("--only", default=",".join(TASKS), help="some of " + ", ".join(TASKS))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in TASKS]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(TASKS)}")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [row for name in names for row in TASKS[name](options)]
    print(table(rows, options.machine, " ".join(["python", "benchmarks/performance.py", *sys.argv[1:]])))


if __name__ == "__main__":
    main()
