"""Dice in slabs that are cut out of scans with references: `python benchmarks/slabs.py FOLDER [FOLDER ...]`.

FOLDER is what `synthesise` wrote (`imagesTr`, `labelsTr`, at 2 mm). Of every scan a slab of each length is cut, whose middle is somewhere
in the pancreas; a structure with fewer than 50 voxels in it does not count. Writes a table of means.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bundle.engines import segment

STRUCTURES = {"pancreas": 1, "spleen": 2, "kidney": 3}
FEWEST = 50


def scores(folder: Path, lengths: list[int]) -> dict[int, list[list[float]]]:
    """Dice of each structure in one slab of each length of each scan; NaN where the structure is not in it."""
    found: dict[int, list[list[float]]] = {length: [] for length in lengths}
    for number, path in enumerate(tqdm(sorted((folder / "imagesTr").glob("*.nii.gz")), str(folder), unit="scan")):
        image, reference = nibabel.load(path), np.asarray(nibabel.load(folder / "labelsTr" / path.name).dataobj)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        slices = np.flatnonzero((reference == STRUCTURES["pancreas"]).any((0, 1)))
        chance = np.random.default_rng(number)
        for length in lengths:
            middle = int(chance.integers(slices[0], slices[-1] + 1))
            first = min(max(0, middle - length // 2), voxels.shape[2] - length)
            if first < 0:
                continue
            part, affine = slice(first, first + length), image.affine.copy()
            affine[:3, 3] += first * affine[:3, 2]
            labels = segment(np.ascontiguousarray(voxels[..., part]), affine=affine)
            found[length].append([dice(labels == value, reference[..., part] == value) for value in STRUCTURES.values()])
    return found


def dice(one: np.ndarray, reference: np.ndarray) -> float:
    """Of two masks; NaN where the reference has next to nothing."""
    return float(2 * (one & reference).sum() / (one.sum() + reference.sum())) if reference.sum() >= FEWEST else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--slices", nargs="+", type=int, default=[8, 12, 16, 20, 24, 32, 48], help="lengths of slabs, in slices of 2 mm")
    options = parser.parse_args()
    found = [scores(folder, options.slices) for folder in options.folders]
    print("| slices of 2 mm | slabs | " + " | ".join(STRUCTURES) + " |", "| ---: | ---: |" + " ---: |" * len(STRUCTURES), sep="\n")
    every = [row for one in found for rows in one.values() for row in rows]
    for name, rows in [*((str(n), [row for one in found for row in one[n]]) for n in options.slices), ("all", every)]:
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{value:.2f}" for value in np.nanmean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
