"""int8 by OpenVINO and NNCF against float32: `python benchmarks/int8.py --data FOLDER` (needs `pip install nncf`).

The network of `configs/inference.json` is exported, and quantised after training (`nncf.quantize`) with patches of the scans that
`--calibrate` names. For each real scan the table has the share of voxels whose label is that of PyTorch in float32, of all voxels and of
those that either calls a structure, and the Dice of each structure that its reference labels. Then come seconds and the share of
float32's of one pass at 160x160x96, the best of the turns, each turn one pass of each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.real_scans import CASES, RealCase, measured, shown
from bundle.arguments.config import shipped_path
from bundle.data.scans import find_scans
from bundle.inferers.openvino_network import OpenVinoNetwork
from bundle.networks import fold_batch_norm
from bundle.telemetry import quiet_openvino

SIZE = (160, 160, 96)
EDGE = 96  # voxels of a patch for calibration

Run = Callable[[Any], Any]


class Quantised(OpenVinoNetwork):
    """The network with weights and activations of 8 bits, whose ranges are those in patches of the volumes (1, X, Y, Z)."""

    def __init__(self, network: torch.nn.Module, cache_dir: str, volumes: list[torch.Tensor]) -> None:
        super().__init__(network, cache_dir, "fp32")
        self.volumes = volumes

    def exported(self) -> Path:
        """The quantised export."""
        import nncf

        patches = [part.numpy() for volume in self.volumes for part in corners(volume)]
        model = quiet_openvino().Core().read_model(str(super().exported()))
        made = nncf.quantize(model, nncf.Dataset(patches), preset=nncf.QuantizationPreset.MIXED, subset_size=len(patches))
        out = self.cache_dir / "int8.xml"
        quiet_openvino().save_model(made, out)
        return out


def corners(volume: torch.Tensor) -> list[torch.Tensor]:
    """Patches (1, 1, EDGE, EDGE, EDGE) of a volume (1, X, Y, Z): at its corners and in its middle, the last voxels repeated."""
    missing = [part for size in volume.shape[:0:-1] for part in (0, max(0, EDGE - size))]
    volume = torch.nn.functional.pad(volume[None], missing, mode="replicate")
    ends = [(0, (size - EDGE) // 2, size - EDGE) for size in volume.shape[2:]]
    places = [(x[i], y[j], z[k]) for x, y, z in [ends] for i, j, k in ((0, 1, 0), (2, 1, 0), (1, 1, 1), (0, 1, 2), (2, 1, 2))]
    return [volume[:, :, x : x + EDGE, y : y + EDGE, z : z + EDGE].contiguous() for x, y, z in places]


def agreement(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Share of equal labels, of all voxels and of those that either calls a structure."""
    same, inside = one == other, (one > 0) | (other > 0)
    return float(same.float().mean()), float(same[inside].float().mean()) if inside.any() else 1.0


def accuracy(scans: dict[RealCase, torch.Tensor], data: Path, network: torch.nn.Module, runs: dict[str, Run], restore: Run) -> str:
    """A row for each scan and number format: agreement with the network in float32, and Dice or volume of each structure."""
    lines = ["| scan | format | equal labels, % | of those within structures, % | Dice, or ml |", "| --- | --- | --- | --- | --- |"]
    for case, image in tqdm(scans.items(), unit="scan"):
        volume = image.as_tensor()[None].float()
        expected = network(volume)[0].argmax(0)
        for name, run in runs.items():
            logits = run(volume)[0]
            every, inside = (f"{100 * share:.2f}" for share in agreement(logits.argmax(0), expected))
            labels = np.asarray(restore({"image": image, "pred": logits})["pred"])[0]
            lines.append(f"| {case.name} | {name} | {every} | {inside} | {shown(measured(case, data, labels))} |")
    return "\n".join(lines)


def speed(runs: dict[str, Run], turns: int) -> str:
    """A row for each number format: seconds of a pass, the best of the turns after a first one, and the share of float32's."""
    x, best = torch.randn(1, 1, *SIZE), dict.fromkeys(runs, float("inf"))
    for turn in range(turns + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run(x)
            best[name] = min(best[name], time.perf_counter() - began) if turn else best[name]
    rows = [f"| {name} | {seconds:.2f} s | {seconds / best['float32']:.2f} |" for name, seconds in best.items()]
    return "\n".join(["| format | a pass | of float32's |", "| --- | --- | --- |", *rows])


def main() -> None:
    """Read the command line, quantise, measure, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real CT")
    parser.add_argument("--calibrate", nargs="*", default=["torso", "abdomen_168"], help="scans whose values set the ranges")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = ConfigParser()
    config.read_config(str(shipped_path("inference")))
    config["device"] = "cpu"
    prepare, restore = (config.get_parsed_content(key) for key in ("preprocessing", "postprocessing"))
    network = fold_batch_norm(config.get_parsed_content("trained").eval())
    scans = {case: prepare(find_scans(arguments.data / case.scan)[0])["image"] for case in CASES}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        chosen = [image.as_tensor().float() for case, image in scans.items() if case.name in arguments.calibrate]
        runs = {name: OpenVinoNetwork(network, folder, precision) for name, precision in (("float32", "fp32"), ("bfloat16", "bf16"))}
        runs["int8"] = Quantised(network, folder, chosen)
        print("\n" + accuracy(scans, arguments.data, network, runs, restore))
        print("\n" + speed(runs, arguments.turns))


if __name__ == "__main__":
    main()
