"""What many scans cost, and how long N workers take for them: measured figures, and a simulation from them.

    python benchmarks/scale.py measure --out runs/scale           # CPU seconds and GB for each size of scan and number format
    python benchmarks/scale.py simulate                           # static parts beside shared-out scans: stragglers, failures
    python benchmarks/scale.py table                              # 1,000 to 1,000,000 scans: core hours, days, price, disk

`measure` counts CPU time, which other programs on the machine disturb little; wall time with a thread for each core is about CPU time
divided by the cores. `simulate` and `table` take the figures below, or those of `--figures runs/scale/scale.json`.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# slices of 512x512, voxels of 0.75 mm: slice thickness in mm
SIZES = {100: 3.0, 240: 1.5, 600: 1.0}
# CPU seconds of a scan, with its table and pictures, by slices: measured by `measure` (docs/scale.md says where and when)
CPU_SECONDS = {"bf16": {100: 3.7, 240: 5.7, 600: 10.5}, "fp32": {100: 6.8, 240: 8.4, 600: 15.1}}
# share of each size in the simulated data set
MIX = {100: 0.4, 240: 0.4, 600: 0.2}
START = 4.0  # CPU seconds until the first scan of a process
WRITTEN_MB = 1.2  # of results for a scan
TAKEN_OVER = 180.0  # seconds until the scan of a dead machine counts as free (bundle.results.claims.ABANDONED)


@dataclass
class World:
    """What the simulated machines are like.

    Args:
        workers: how many.
        slow: share of them that are `slowness` times slower than the others.
        slowness: how much.
        mtbf: mean seconds of work between two failures of a worker; 0 for none.
        lost: share of the failures after which a worker does not come back.
        back: seconds until one that comes back has started again.
    """

    workers: int
    slow: float = 0.0
    slowness: float = 2.0
    mtbf: float = 0.0
    lost: float = 0.0
    back: float = 60.0


@dataclass
class Outcome:
    """Seconds until the last scan is done, seconds of work that failures cost, and scans left for a second try by hand."""

    makespan: float
    lost_work: float
    left: int


class Worker:
    """One simulated machine: how fast it is, when it fails next, and whether it is still there."""

    def __init__(self, world: World, random_: random.Random) -> None:
        self.world, self.random = world, random_
        self.speed = 1 / world.slowness if random_.random() < world.slow else 1.0
        self.until_failure = self._draw()
        self.gone = False

    def _draw(self) -> float:
        return self.random.expovariate(1 / self.world.mtbf) if self.world.mtbf else float("inf")

    def work(self, seconds: float) -> tuple[float, float]:
        """Do one scan: seconds that it takes with failures and restarts, and seconds of these that were lost; may be gone then."""
        needed, passed, lost = seconds / self.speed, 0.0, 0.0
        while self.until_failure < needed:
            passed, lost = passed + self.until_failure, lost + self.until_failure
            self.until_failure = self._draw()
            if self.random.random() < self.world.lost:
                self.gone = True
                return passed, lost
            passed += self.world.back
        self.until_failure -= needed
        return passed + needed, lost


def static_parts(scans: list[float], world: World, random_: random.Random, even: bool) -> Outcome:
    """Every worker does its own part, planned before: by digest of the names, or of even size, the largest first."""
    parts: list[list[float]] = [[] for _ in range(world.workers)]
    if even:
        loads = [(0.0, number) for number in range(world.workers)]
        for seconds in sorted(scans, reverse=True):
            load, number = heapq.heappop(loads)
            parts[number].append(seconds)
            heapq.heappush(loads, (load + seconds, number))
    else:
        for seconds in scans:
            parts[random_.randrange(world.workers)].append(seconds)
    makespan = lost_work = 0.0
    left = 0
    for part in parts:
        worker, now = Worker(world, random_), START
        for index, seconds in enumerate(part):
            passed, lost = worker.work(seconds)
            now, lost_work = now + passed, lost_work + lost
            if worker.gone:
                left += len(part) - index
                break
        makespan = max(makespan, now)
    return Outcome(makespan, lost_work, left)


def shared_out(scans: list[float], world: World, random_: random.Random) -> Outcome:
    """Every worker takes the next scan that nobody has, the largest first; scans of a worker that is gone are free after a while."""
    todo = [(-seconds, number) for number, seconds in enumerate(scans)]
    heapq.heapify(todo)
    returned: list[tuple[float, float]] = []  # when it is free again, seconds
    workers = [Worker(world, random_) for _ in range(world.workers)]
    ready = [(START, number) for number in range(world.workers)]
    heapq.heapify(ready)
    makespan = lost_work = 0.0
    while ready and (todo or returned):
        now, number = heapq.heappop(ready)
        if not todo:
            free, seconds = heapq.heappop(returned)
            now = max(now, free)
        else:
            seconds = -heapq.heappop(todo)[0]
        passed, lost = workers[number].work(seconds)
        lost_work += lost
        if workers[number].gone:
            heapq.heappush(returned, (now + passed + TAKEN_OVER, seconds))
            continue
        makespan = max(makespan, now + passed)
        heapq.heappush(ready, (now + passed, number))
    return Outcome(makespan, lost_work, len(todo) + len(returned))


def drawn(count: int, seconds: dict[int, float], random_: random.Random) -> list[float]:
    """Seconds of work for `count` scans of the mix, each within a quarter of its size's."""
    sizes = random_.choices(list(MIX), weights=list(MIX.values()), k=count)
    return [seconds[size] * random_.uniform(0.75, 1.25) for size in sizes]


WORLDS = {
    "all alike": {},
    "a tenth at half speed": {"slow": 0.1},
    "a failure in 4 h of work, back after a minute": {"mtbf": 4 * 3600.0},
    "a failure in 4 h, half of them for good": {"mtbf": 4 * 3600.0, "lost": 0.5},
    "half speed and these failures": {"slow": 0.1, "mtbf": 4 * 3600.0, "lost": 0.5},
}


def simulate(count: int, workers: int, seconds: dict[int, float], tries: int) -> list[tuple[str, str, float, float, float]]:
    """Rows of world, way, makespan over the ideal, lost work as a share of all, scans left; medians over `tries`."""
    rows = []
    for name, options in WORLDS.items():
        for way in ("parts by digest", "even parts", "shared out"):
            found = []
            for seed in range(tries):
                random_ = random.Random(seed)
                scans = drawn(count, seconds, random_)
                world = World(workers, **options)
                done = (
                    shared_out(scans, world, random_) if way == "shared out" else static_parts(scans, world, random_, way == "even parts")
                )
                ideal = START + sum(scans) / workers
                found.append((done.makespan / ideal, done.lost_work / sum(scans), done.left))
            rows.append((name, way, *(statistics.median(column) for column in zip(*found, strict=True))))
    return rows


def measure(out: Path, sizes: list[int]) -> None:
    """CPU seconds and peak GB of each size in each number format, each format in a process of its own; written to scale.json."""
    import benchmarks.inference as base

    figures: dict[str, dict] = {}
    for slices in sizes:
        path = out / f"scans_{slices}" / "scan.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            base.SHAPE, base.SPACING = (512, 512, slices), (0.75, 0.75, SIZES[slices])
            base.write_scan(path, slices)
    for precision in CPU_SECONDS:
        command = [sys.executable, __file__, "one", "--out", str(out), "--precision", precision, "--sizes", ",".join(map(str, sizes))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        figures[precision] = json.loads(said.splitlines()[-1])
        print(precision, figures[precision], flush=True)
    (out / "scale.json").write_text(json.dumps(figures, indent=1) + "\n")


def one(out: Path, precision: str, sizes: list[int]) -> dict:
    """Figures of one number format in this process: CPU seconds until the first scan, and of each size with the peak so far."""
    import time

    from monai.bundle import create_workflow

    from benchmarks.peak_memory import peak

    found: dict = {}
    for slices in sizes:
        keys = {"dataset_dir": str(out / f"scans_{slices}"), "output_dir": str(out / f"results_{precision}_{slices}"), "threads": 1}
        config = str(ROOT / "configs" / "inference.json")
        workflow = create_workflow(
            config_file=config, workflow_type="infer", logging_file=False, precision=precision, overwrite=True, **keys
        )
        evaluator = workflow.parser.get_parsed_content("evaluator")
        found.setdefault("start_cpu_s", round(time.process_time(), 2))
        began = time.process_time()
        evaluator.run()
        written = sum(file.stat().st_size for file in Path(keys["output_dir"]).iterdir() if file.is_file() and file.name.startswith("scan"))
        peak_gb = peak() / 1e9
        cpu = time.process_time() - began
        found[str(slices)] = {"cpu_s": round(cpu, 2), "peak_gb": round(peak_gb, 2), "written_mb": round(written / 1e6, 2)}
    return found


def mean_seconds(seconds: dict[int, float]) -> float:
    """CPU seconds of a scan of the mix."""
    return sum(MIX[size] * seconds[size] for size in MIX)


def _both(values: list[float], factor: float = 1.0, unit: str = "") -> str:
    return ", ".join(f"{value * factor:,.{0 if value * factor >= 10 else 1 if value * factor >= 1 else 2}f}{unit}" for value in values)


def main() -> None:
    """Measure, simulate, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "one", "simulate", "table"))
    parser.add_argument("--out", type=Path, default=Path("runs/scale"))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of slices to measure")
    parser.add_argument("--precision", default="fp32", choices=tuple(CPU_SECONDS))
    parser.add_argument("--figures", type=Path, help="scale.json of an earlier measurement")
    parser.add_argument("--scans", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--price", type=float, default=0.05, help="of a core for an hour, in any currency")
    options = parser.parse_args()
    sizes = [int(text) for text in options.sizes.split(",")]
    out = options.out.resolve()
    if options.what == "measure":
        return measure(out, sizes)
    if options.what == "one":
        return print(json.dumps(one(out, options.precision, sizes)))
    cpu = CPU_SECONDS
    if options.figures:
        measured = json.loads(options.figures.read_text())
        cpu = {name: {size: figures[str(size)]["cpu_s"] for size in MIX} for name, figures in measured.items()}
    if options.what == "simulate":
        print(f"{options.scans} scans, {options.workers} workers of one core, {options.precision}, {options.tries} tries\n")
        print("| machines | scans are | time / ideal | work lost | scans left |\n| --- | --- | ---: | ---: | ---: |")
        for world, way, time_, lost, left in simulate(options.scans, options.workers, cpu[options.precision], options.tries):
            print(f"| {world} | {way} | {time_:.3f} | {100 * lost:.2f} % | {left:.0f} |")
        return None
    heads = ("scans", "core hours bf16, fp32", "1 machine of 16 cores", "64 such machines", "price", "results")
    print(f"| {' | '.join(heads)} |\n|{' ---: |' * len(heads)}")
    for count in (1000, 10_000, 100_000, 1_000_000):
        hours = [count * mean_seconds(cpu[name]) / 3600 for name in ("bf16", "fp32")]
        columns = [_both(hours), _both(hours, 1 / 16, " h"), _both(hours, 1 / 16 / 64, " h"), _both(hours, options.price)]
        print(f"| {count:,} | {' | '.join(columns)} | {count * WRITTEN_MB / 1000:,.0f} GB |")
    return None


if __name__ == "__main__":
    main()
