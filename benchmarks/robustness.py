"""Dice in scans with references that were made harder: `python benchmarks/robustness.py FOLDER [FOLDER ...]`.

FOLDER is what `synthesise` wrote (`imagesTr`, `labelsTr`, at 2 mm). Every scan is segmented as it is, in a narrow field of view, with thick
slices, with noise, with its HU shifted, and as the scan of a smaller body; and of every scan a slab of each length is cut, whose middle
is somewhere in the pancreas. A structure with fewer than 50 voxels does not count. Writes a table of means.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bundle.engines import segment

STRUCTURES = {"pancreas": 1, "spleen": 2, "kidney": 3}
FEWEST = 50
# voxels of 2 mm around the middle of the organs, from left to right and from front to back
NARROW = (120, 100)


@dataclass(frozen=True)
class Scan:
    """Voxels in HU (X, Y, Z), their affine, and the label map on the same grid."""

    voxels: np.ndarray
    affine: np.ndarray
    reference: np.ndarray

    def cut(self, first: tuple[int, int, int], size: tuple[int, int, int]) -> Scan:
        """A box of it, in its place."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ first
        box = tuple(slice(start, start + length) for start, length in zip(first, size, strict=True))
        return Scan(np.ascontiguousarray(self.voxels[box]), affine, self.reference[box])


def slabs(scan: Scan, lengths: list[int], chance: np.random.Generator) -> Iterator[tuple[str, Scan]]:
    """One slab of each length that the scan has."""
    slices = np.flatnonzero((scan.reference == STRUCTURES["pancreas"]).any((0, 1)))
    depth = scan.voxels.shape[2]
    for length in lengths:
        middle = int(chance.integers(slices[0], slices[-1] + 1))
        if length <= depth:
            first = min(max(0, middle - length // 2), depth - length)
            yield f"slab of {length} slices", scan.cut((0, 0, first), (*scan.voxels.shape[:2], length))


def narrow(scan: Scan) -> Scan:
    """The field of view of 240x200 mm around the organs."""
    middle = [int(np.flatnonzero((scan.reference > 0).any(others)).mean()) for others in ((1, 2), (0, 2))]
    sizes = [min(n, most) for n, most in zip(scan.voxels.shape, NARROW, strict=False)]
    x, y = (min(max(0, m - size // 2), n - size) for m, size, n in zip(middle, sizes, scan.voxels.shape, strict=False))
    return scan.cut((x, y, 0), (sizes[0], sizes[1], scan.voxels.shape[2]))


def scaled(scan: Scan, factor: float) -> Scan:
    """The same body, so many times as large."""
    affine = scan.affine.copy()
    affine[:3, :3] *= factor
    return Scan(scan.voxels, affine, scan.reference)


def thick(scan: Scan, together: int) -> np.ndarray:
    """What is found with slices that are the means of so many, on the scan's own grid; slices at the end that are too few are left out."""
    count = scan.voxels.shape[2] // together
    means = scan.voxels[..., : count * together].reshape(*scan.voxels.shape[:2], count, together).mean(-1)
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (together - 1) / 2
    affine[:3, 2] *= together
    return np.repeat(segment(means, affine=affine), together, axis=2)


def scores(labels: np.ndarray, reference: np.ndarray) -> list[float]:
    """Dice of each structure; NaN where the reference has next to nothing."""
    found = []
    for value in STRUCTURES.values():
        one, other = labels == value, reference == value
        found.append(float(2 * (one & other).sum() / (one.sum() + other.sum())) if other.sum() >= FEWEST else float("nan"))
    return found


def of_one(scan: Scan, lengths: list[int], number: int) -> Iterator[tuple[str, list[float]]]:
    """Name and Dice of everything that is made of a scan."""
    chance = np.random.default_rng(number)
    for name, slab in slabs(scan, lengths, chance):
        yield name, scores(segment(slab.voxels, affine=slab.affine), slab.reference)
    yield "as it is", scores(segment(scan.voxels, affine=scan.affine), scan.reference)
    view = narrow(scan)
    yield "field of view of 240x200 mm", scores(segment(view.voxels, affine=view.affine), view.reference)
    for together in (4, 5):
        labels = thick(scan, together)
        yield f"slices of {2 * together} mm", scores(labels, scan.reference[..., : labels.shape[2]])
    noise = chance.normal(0, 30, scan.voxels.shape).astype(np.float32)
    yield "noise of 30 HU", scores(segment(scan.voxels + noise, affine=scan.affine), scan.reference)
    for shift in (15, -15):
        yield f"{shift:+d} HU", scores(segment(scan.voxels + shift, affine=scan.affine), scan.reference)
    for factor in (0.75, 0.6, 0.5):
        small = scaled(scan, factor)
        yield f"body of {factor} times the size", scores(segment(small.voxels, affine=small.affine), scan.reference)
    finer = [2 * factor] * 3
    yield f"the last with `--spacing {finer}`", scores(segment(small.voxels, affine=small.affine, spacing=finer), scan.reference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--slices", nargs="*", type=int, default=[8, 12, 16, 20, 24, 32, 48], help="lengths of slabs, in slices of 2 mm")
    options = parser.parse_args()
    found = defaultdict(list)
    for folder in options.folders:
        for number, path in enumerate(tqdm(sorted((folder / "imagesTr").glob("*.nii.gz")), str(folder), unit="scan")):
            image, reference = nibabel.load(path), nibabel.load(folder / "labelsTr" / path.name)
            scan = Scan(np.asarray(image.dataobj, dtype=np.float32), image.affine, np.asarray(reference.dataobj))
            for name, dice in of_one(scan, options.slices, number):
                found[name].append(dice)
    every = [dice for name, rows in found.items() if name.startswith("slab") for dice in rows]
    found |= {"all slabs": every} if every else {}
    print("| scan | number | " + " | ".join(STRUCTURES) + " |", "| --- | ---: |" + " ---: |" * len(STRUCTURES), sep="\n")
    for name, rows in found.items():
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{value:.2f}" for value in np.nanmean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
