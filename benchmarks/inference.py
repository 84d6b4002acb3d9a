"""Time and memory of inference on a folder: the model-zoo-style pipeline and this bundle, each in a process of its own.

    python benchmarks/inference.py --out runs/benchmark                 # both, and the variants
    python benchmarks/inference.py --out runs/benchmark --only default,zoo --scans 2 --threads 2

Everything goes through `python -m monai.bundle run`; wall time and peak memory are those of the whole process, imports
included. Writes `inference.json` (all figures) and prints a table.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SHAPE, SPACING = (512, 512, 240), (0.75, 0.75, 1.5)
OURS = ["configs/inference.json"]
VARIANTS: dict[str, tuple[list[str], dict[str, object]]] = {
    "default": (OURS, {}),
    "fp32": (OURS, {"precision": "fp32"}),
    "fp32 one pass": (OURS, {"precision": "fp32", "memory_gb": 8}),
    "2 GB": (OURS, {"memory_gb": 2}),
    "2 GB fp32": (OURS, {"memory_gb": 2, "precision": "fp32"}),
    "openvino": ([*OURS, "configs/overlays/inference/inference_openvino.json"], {}),
    "zoo": (["benchmarks/zoo_inference.json"], {}),
}


def write_scan(path: Path, seed: int) -> None:
    """A CT of 512x512x240 voxels, 384x384x360 mm: an elliptic body with organs and noise, and air around it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*((np.arange(n) - n / 2) * s for n, s in zip(SHAPE[:2], SPACING[:2], strict=True)), indexing="ij")
    z = (np.arange(SHAPE[2]) - SHAPE[2] / 2) * SPACING[2]
    scan = np.full(SHAPE, -1000, dtype=np.int16)
    scan[(x / 165) ** 2 + (y / 115) ** 2 < 1] = -80
    scan[(x / 145) ** 2 + (y / 95) ** 2 < 1] = 40
    # spleen, kidneys, pancreas: centre, semi-axes (mm), HU
    organs = [((-95, -30, 40), (28, 38, 50), 110), ((-55, -45, -20), (25, 25, 50), 160), ((55, -45, -25), (25, 25, 50), 160)]
    for (cx, cy, cz), (a, b, c), hu in [*organs, ((-10, 10, 0), (65, 14, 14), 90)]:
        inside = (((x - cx) / a) ** 2 + ((y - cy) / b) ** 2)[:, :, None] + ((z - cz) / c) ** 2 < 1
        scan[inside] = hu
    for i in range(SHAPE[2]):
        scan[:, :, i] += rng.normal(0, 12, SHAPE[:2]).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan, np.diag([*SPACING, 1.0])), path)


def write_weights(folder: Path) -> dict[str, Path]:
    """Weights for both networks: this bundle's own where they are there, otherwise random ones."""
    import torch
    from monai.networks.nets import AttentionUnet as ZooUnet

    from bundle.networks import AttentionUnet

    torch.manual_seed(0)
    zoo = ZooUnet(spatial_dims=3, in_channels=1, out_channels=4, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2))
    torch.save(zoo.state_dict(), folder / "zoo.pt")
    ours = ROOT / "models" / "model.pt"
    if not ours.is_file():
        ours = folder / "ours.pt"
        torch.save(AttentionUnet().state_dict(), ours)
    return {"zoo": folder / "zoo.pt", "ours": ours}


def measure(command: list[str], threads: int, log: Path) -> dict[str, float]:
    """Wall time, CPU time and peak resident memory of a process and its children."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    peak, sampled = [0], threading.Event()
    start = time.perf_counter()
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, sampled))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    sampled.set()
    watcher.join()
    if process.returncode:
        print(log.read_text()[-3000:], file=sys.stderr)
        raise SystemExit(f"failed with {process.returncode}: {' '.join(command)}")
    # the kernel's own maximum for the process, and the sampled one that counts children too
    gigabytes = max(usage.ru_maxrss * 1024, peak[0]) / 1e9
    return {"wall_s": round(wall, 2), "cpu_s": round(usage.ru_utime + usage.ru_stime, 2), "peak_gb": round(gigabytes, 3)}


def _watch(pid: int, peak: list[int], stop: threading.Event) -> None:
    while not stop.wait(0.02):
        try:
            root = psutil.Process(pid)
            peak[0] = max(peak[0], sum(p.memory_info().rss for p in [root, *root.children(recursive=True)]))
        except psutil.Error:
            return


def floors(scan: Path, threads: int) -> dict[str, float]:
    """What cannot be undercut: the imports of `monai.bundle`, decompressing one scan, and the convolutions at full speed."""
    import torch

    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import monai.bundle"], check=True, env=environment, capture_output=True)
    found = {"import_monai_bundle_s": time.perf_counter() - start}
    start = time.perf_counter()
    with gzip.open(scan) as file:
        while file.read(1 << 24):
            pass
    found["gzip_one_scan_s"] = time.perf_counter() - start
    torch.set_num_threads(threads)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
        a @ b
        start = time.perf_counter()
        for _ in range(8):
            a @ b
        found[f"matmul_{name}_tflops"] = 8 * 2 * 2048**3 / (time.perf_counter() - start) / 1e12
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Run the variants and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--scans", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(VARIANTS), help="variants, separated by commas: " + ", ".join(VARIANTS))
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"--only: no variant is called {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    out = arguments.out.resolve()
    scans = out / "scans"
    scans.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.scans):
        path = scans / f"scan_{number}.nii.gz"
        if not path.exists():
            write_scan(path, number)
    weights = write_weights(out)
    figures: dict[str, dict] = {}
    for name in names:
        configs, options = VARIANTS[name]
        results = out / name.replace(" ", "_")
        keys = {"dataset_dir": scans, "output_dir": results, "ckpt_path": weights["zoo" if name == "zoo" else "ours"], **options}
        if name != "zoo":
            keys |= {"overwrite": True, "threads": arguments.threads}
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(configs if len(configs) > 1 else configs[0])]
        command += [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        figures[name] = measure(command, arguments.threads, out / f"{name.replace(' ', '_')}.log")
        if (results / "run.json").is_file():
            cases = json.loads((results / "run.json").read_text())["cases"]
            stages = sorted({stage for case in cases for stage in case["seconds"]})
            figures[name]["stages_s"] = {stage: round(sum(case["seconds"].get(stage, 0) for case in cases), 2) for stage in stages}
        print(f"{name:14s} {figures[name]}", flush=True)
    report = {"machine": platform.processor(), "cores": os.cpu_count(), "threads": arguments.threads, "scans": arguments.scans}
    report |= {"floors": floors(scans / "scan_0.nii.gz", arguments.threads), "figures": figures}
    (out / "inference.json").write_text(json.dumps(report, indent=1) + "\n")
    _table(report)


def _table(report: dict) -> None:
    figures = report["figures"]
    base = figures.get("zoo", {}).get("wall_s")
    print(f"\n{report['scans']} scans of 512x512x240, {report['threads']} threads\n")
    print("| pipeline | wall s | CPU s | peak GB | times faster |\n| --- | ---: | ---: | ---: | ---: |")
    for name, row in figures.items():
        faster = f"{base / row['wall_s']:.1f}" if base else ""
        print(f"| {name} | {row['wall_s']:.1f} | {row['cpu_s']:.1f} | {row['peak_gb']:.2f} | {faster} |")
    print("\nfloors: " + ", ".join(f"{name} {value}" for name, value in report["floors"].items()))


if __name__ == "__main__":
    main()
