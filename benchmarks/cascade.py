"""Dice, CPU seconds and peak memory of the cascade beside the single network: `python benchmarks/cascade.py DATASET --out runs/cascade`.

DATASET is a folder in MSD layout; each labelled scan of it goes through each variant by `python -m bundle run inference`, in a process of
its own, whose CPU seconds (imports included) and peak memory the system gives. `--coarse WEIGHTS` adds the variants whose look has a
network of its own (configs/overlays/train/coarse.json). Prints a table and writes `cascade.json`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.real_scans import STRUCTURES, dice
from bundle.files import write_json

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = "configs/overlays/inference"


def variants(coarse: str | None) -> dict[str, list[str]]:
    """Name to the words that its command has after `run inference`."""

    def on(*overlays: str) -> list[str]:
        files = ["configs/inference.json", *(f"{OVERLAYS}/{name}.json" for name in overlays)]
        return ["--config_file", "[" + ",".join(f"'{file}'" for file in files) + "]"]

    found = {"single network": on(), "z, shipped weights at 3.5 mm": on("cascade")}
    if coarse:
        own = [*on("cascade", "cascade_box"), "--coarse_ckpt_path", str(Path(coarse).resolve())]
        found |= {"z, own network at 5 mm": [*own, "--box", "z", "--box_margin", "40"], "xyz, own network at 5 mm": own}
    return found


def measure(scan: Path, reference: Path, words: list[str], out: Path, threads: int) -> dict[str, float]:
    """One scan through one variant."""
    shutil.rmtree(out, ignore_errors=True)
    more = ["--precision", "fp32", "--previews", "false", "--threads", str(threads), "--dataset_dir", str(scan), "--output_dir", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    child = subprocess.Popen([sys.executable, "-m", "bundle", "run", "inference", *words, *more], cwd=ROOT, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{scan}: {words} ended with {status}")
    there = np.asarray(nibabel.load(reference).dataobj)
    found = np.asarray(nibabel.load(next(out.glob("*_seg.nii.gz"))).dataobj)
    scores = {name: dice(found == value, there == value) for name, value in STRUCTURES.items()}
    return {**scores, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_gb": usage.ru_maxrss * 1024 / 1e9}


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """A row for each scan and variant."""
    lines = ["| scan | variant | Dice pancreas, spleen, kidneys | CPU s | peak GB |", "| --- | --- | --- | ---: | ---: |"]
    for scan, rows in results.items():
        for name, one in rows.items():
            scores = ", ".join(f"{one[structure]:.3f}" for structure in STRUCTURES)
            lines.append(f"| {scan} | {name} | {scores} | {one['cpu_seconds']:.1f} | {one['peak_gb']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder with imagesTr and labelsTr")
    parser.add_argument("--out", default="runs/cascade", help="folder for label maps and figures")
    parser.add_argument("--coarse", help="weights of a network for the look")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cases", nargs="*", help="only these")
    arguments = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    out = Path(arguments.out).resolve()
    for scan in sorted((Path(arguments.dataset).resolve() / "imagesTr").glob("*.nii.gz")):
        name = scan.name.removesuffix(".nii.gz")
        if arguments.cases and name not in arguments.cases:
            continue
        results[name] = {}
        for variant, words in variants(arguments.coarse).items():
            reference = scan.parent.parent / "labelsTr" / scan.name
            results[name][variant] = measure(scan, reference, words, out / "labels", arguments.threads)
            print(table({name: {variant: results[name][variant]}}).splitlines()[-1], flush=True)
            write_json(out / "cascade.json", results)
    print("\n" + table(results))


if __name__ == "__main__":
    main()
