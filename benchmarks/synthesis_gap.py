"""How far synthetic CT is from real CT: `python benchmarks/synthesis_gap.py SYNTHETIC [--data FOLDER]`.

Patches of real and of synthetic scans, at 2 mm as the network gets them, are described twice: by the means of what the network's
encoder sees (`network`), and by grey values and texture (`texture`). The figure is the Frechet distance of the two clouds (MONAI's
`FIDMetric`, Heusel et al. 2017, https://arxiv.org/abs/1706.08500) in their first 16 principal components, each kind of synthetic scan
by itself. The yardstick is the same distance between real scans, some against the others. A second table has, of each organ that a real
reference labels, HU, texture, and how much of what surrounds it is soft tissue and not fat, and how many of the real values lie between
the 5th and 95th percentile of the synthetic ones.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.metrics import FIDMetric
from scipy import ndimage
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.real_scans import CASES, STRUCTURES
from bundle.arguments.config import shipped_path
from bundle.data.scans import find_scans

EDGE = 48  # voxels of a patch
COMPONENTS = 16
LEVELS = 4


def read_configs(weights: str | None) -> tuple:
    """Preprocessing of `configs/inference.json`, and its network with weights."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(shipped_path("inference")))
    parser["device"] = "cpu"
    if weights:
        parser["ckpt_path"] = weights
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("network")


def patches(volume: torch.Tensor, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Up to `count` patches (N, 1, EDGE, EDGE, EDGE) of a volume (1, X, Y, Z), half of each in the body at least."""
    volume = torch.nn.functional.pad(volume, [part for size in volume.shape[:0:-1] for part in (0, max(0, EDGE - size))], value=-3)
    found = []
    for _ in range(20 * count):
        corner = [int(rng.integers(0, size - EDGE + 1)) for size in volume.shape[1:]]
        patch = volume[:, corner[0] : corner[0] + EDGE, corner[1] : corner[1] + EDGE, corner[2] : corner[2] + EDGE]
        if float((patch > volume.min() + 1e-3).float().mean()) > 0.5:
            found.append(patch)
        if len(found) == count:
            break
    return torch.stack(found) if found else torch.empty(0, 1, EDGE, EDGE, EDGE)


def texture(patch: torch.Tensor) -> np.ndarray:
    """Grey values and texture of a patch (1, X, Y, Z): percentiles, standard deviation, mean steps and correlations of neighbours."""
    one = patch[0].numpy()
    values = [*np.percentile(one, (5, 25, 50, 75, 95)), one.std()]
    for axis in range(3):
        first, second = np.delete(one, -1, axis), np.delete(one, 0, axis)
        values += [np.abs(first - second).mean(), np.corrcoef(first.ravel(), second.ravel())[0, 1]]
    return np.asarray(values)


def encoded(network: torch.nn.Module, batch: torch.Tensor) -> np.ndarray:
    """Means of the encoder's first levels (N, features) for patches (N, 1, X, Y, Z)."""
    found: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, out: found.append(out.float().mean((2, 3, 4)))) for block in network.encoder[:LEVELS]
    ]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(found, 1).numpy()


def distance(one: np.ndarray, other: np.ndarray, basis: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """Frechet distance of two clouds (N, features), in the principal components of the real one."""
    mean, scale, axes = basis
    first, second = (((cloud - mean) / scale) @ axes.T for cloud in (one, other))
    return float(FIDMetric()(torch.from_numpy(first), torch.from_numpy(second)))


def principal(cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and first principal axes of a cloud (N, features)."""
    mean, scale = cloud.mean(0), cloud.std(0) + 1e-6
    return mean, scale, np.linalg.svd((cloud - mean) / scale, full_matrices=False)[2][:COMPONENTS]


def organ(image: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Median HU, standard deviation and correlation of neighbours in plane inside an organ, and the share of soft tissue (above -30 HU)
    in the 4 mm around it; None where it is too small."""
    inside = mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
    if inside.sum() < 200:
        return None
    pairs = inside & np.roll(inside, 1, 0)
    correlation = np.corrcoef(image[pairs], np.roll(image, 1, 0)[pairs])[0, 1]
    around = ndimage.binary_dilation(mask, iterations=2) & ~mask
    return float(np.median(image[inside])), float(image[inside].std()), float(correlation), float((image[around] > -30).mean())


def read_at_2_mm(scan: Path, reference: Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A scan in HU and its reference on a grid of 2 mm, RAS."""
    from monai.transforms import Compose, EnsureChannelFirstd, Orientationd

    from bundle.data.load_scan import LoadScand
    from bundle.transforms import ResampleSpacingd

    keys = ["image", *(["label"] if reference else [])]
    data = {"image": find_scans(scan)[0]["image"]} | ({"label": str(reference)} if reference else {})
    steps = [
        LoadScand(keys),
        EnsureChannelFirstd(keys),
        Orientationd(keys, axcodes="RAS", labels=None),
        ResampleSpacingd(keys, pixdim=(2.0, 2.0, 2.0), mode=["bilinear", "nearest"][: len(keys)]),
    ]
    out = Compose(steps)(data)
    return out["image"][0].numpy(), out["label"][0].numpy() if reference else None


def organ_rows(real: dict[str, dict[str, list]], made: dict[str, list]) -> list[str]:
    """A row for each organ: real values by case, and the synthetic range."""
    what = "HU, SD, correlation of neighbours, soft tissue around"
    lines = [f"| organ | real: {what} | synthetic, 5th to 95th percentile | inside |", "| --- | --- | --- | --- |"]
    for name in STRUCTURES:
        cells, inside, total = [], 0, 0
        low, high = np.percentile(np.asarray(made[name]), 5, axis=0), np.percentile(np.asarray(made[name]), 95, axis=0)
        for case, values in real[name].items():
            cells.append(f"{case} {values[0]:.0f}, {values[1]:.0f}, {values[2]:.2f}, {values[3]:.2f}")
            within = (low <= values) & (values <= high)
            inside, total = inside + int(within.sum()), total + len(within)
        ends = zip(low, high, (".0f", ".0f", ".2f", ".2f"), strict=True)
        ranges = ", ".join(f"{one:{form}} to {other:{form}}" for one, other, form in ends)
        lines.append(f"| {name} | {'; '.join(cells)} | {ranges} | {inside} of {total} |")
    return lines


def kind_rows(clouds: dict[str, dict[str, dict[str, np.ndarray]]], kinds: list[str]) -> list[str]:
    """Distances to the real scans: of real ones among themselves, of each kind of synthetic scan, and of all kinds together.

    Args:
        clouds: by what describes a patch, by kind (`CT` is the real one) and by scan: (N, features).
        kinds: of synthetic scans.
    """
    everything = [kind for kind in kinds if all(cloud[kind] for cloud in clouds.values())]
    rows: dict[str, list[str]] = defaultdict(list)
    for cloud in clouds.values():
        scans = cloud["CT"]
        real = np.concatenate(list(scans.values()))
        basis = principal(real)
        apart = []
        for chosen in itertools.combinations(scans, 2):
            first, second = (np.concatenate([part for name, part in scans.items() if (name in chosen) == side]) for side in (True, False))
            apart.append(distance(first, second, basis))
        rows["two real scans against the others, mean (least to most)"].append(
            f"{np.mean(apart):.1f} ({min(apart):.1f} to {max(apart):.1f})"
        )
        for kind in [*everything, "all kinds"]:
            parts = [part for one in (everything if kind == "all kinds" else [kind]) for part in cloud[one].values()]
            rows[kind].append(f"{distance(np.concatenate(parts), real, basis):.1f}")
    head = ["| kind | " + " | ".join(clouds) + " |", "| --- |" + " --- |" * len(clouds)]
    return head + [f"| {kind} | " + " | ".join(cells) + " |" for kind, cells in rows.items()]


@dataclass(frozen=True)
class Look:
    """One scan: its kind (`CT` is the real one), its file, its reference or None, and the value of each structure in that."""

    kind: str
    name: str
    scan: Path
    reference: Path | None
    values: Mapping[str, int]


def looks(synthetic: Path, data: Path, scans: int) -> list[Look]:
    """The real scans, and so many of each kind of synthetic ones, of which phantoms and held-out ones have no part in the organs."""
    found = []
    for case in CASES:
        reference = data / case.reference if case.reference else None
        found.append(Look("CT", case.name, data / case.scan, reference, dict(case.values)))
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((synthetic / "imagesTr").glob("*.nii.gz")):
        kinds[path.name.split("_")[0]].append(path)
    for kind, paths in kinds.items():
        for path in paths[:scans]:
            reference = None if kind in ("phantom", "heldout") else synthetic / "labelsTr" / path.name
            found.append(Look(kind, path.name, path, reference, STRUCTURES))
    return found


def organs(look: Look) -> dict[str, np.ndarray]:
    """What `organ` says of each structure that the reference labels."""
    if look.reference is None:
        return {}
    image, labels = read_at_2_mm(look.scan, look.reference)
    found = {structure: organ(image, labels == value) for structure, value in look.values.items()}
    return {structure: np.asarray(values) for structure, values in found.items() if values is not None}


def main() -> None:
    """Read the command line, measure, print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthetic", type=Path, help="folder that `synthesise` wrote")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the real CT")
    parser.add_argument("--weights", help="whose encoder looks; the shipped ones without it")
    parser.add_argument("--scans", type=int, default=12, help="of each kind of synthetic scan")
    parser.add_argument("--patches", type=int, default=24, help="of each scan")
    arguments = parser.parse_args()
    preprocessing, network = read_configs(arguments.weights)
    rng = np.random.default_rng(0)
    clouds: dict[str, dict[str, dict[str, np.ndarray]]] = {"network": defaultdict(dict), "texture": defaultdict(dict)}
    real: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    made: dict[str, list[np.ndarray]] = defaultdict(list)
    every = looks(arguments.synthetic, arguments.data, arguments.scans)
    for look in tqdm(every, unit="scan"):
        volume = preprocessing(find_scans(look.scan)[0])["image"].as_tensor().float()
        batch = patches(volume, arguments.patches, rng)
        if len(batch):
            clouds["network"][look.kind][look.name] = np.concatenate([encoded(network, part) for part in batch.split(4)])
            clouds["texture"][look.kind][look.name] = np.stack([texture(one) for one in batch])
        for structure, values in organs(look).items():
            if look.kind == "CT":
                real[structure][look.name] = values
            else:
                made[structure].append(values)
    kinds = list(dict.fromkeys(look.kind for look in every if look.kind != "CT"))
    print("\n" + "\n".join(kind_rows(clouds, kinds)))
    print("\n" + "\n".join(organ_rows(real, made)))


if __name__ == "__main__":
    main()
