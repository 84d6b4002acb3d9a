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
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.real_scans import STRUCTURES, dice
from bundle.engines import segment

FEWEST = 50
# voxels of 2 mm around the middle of the organs, from left to right and from front to back
NARROW = (120, 100)


@dataclass(frozen=True)
class Scan:
    """A CT, the label map on its grid, the key `spacing`, and how many slices of the label map each of its slices stands for."""

    ct: nibabel.Nifti1Image
    reference: np.ndarray
    spacing: float = 2.0
    together: int = 1

    def scores(self) -> list[float]:
        """Dice of each structure; NaN where the reference has next to nothing."""
        labels = np.repeat(segment(self.ct, spacing=[self.spacing] * 3), self.together, axis=2)
        # slices at the end that are too few for one of the thick ones do not count
        reference = self.reference[..., : labels.shape[2]]
        masks = ((labels == value, reference == value) for value in STRUCTURES.values())
        return [dice(one, other) if other.sum() >= FEWEST else float("nan") for one, other in masks]

    def cut(self, *box: slice) -> Scan:
        """A box of it, in its place."""
        return replace(self, ct=self.ct.slicer[box], reference=self.reference[box])

    def changed(self, voxels: np.ndarray) -> Scan:
        """Other HU on the same grid."""
        return replace(self, ct=nibabel.Nifti1Image(voxels, self.ct.affine))

    def scaled(self, factor: float, spacing: float = 2.0) -> Scan:
        """The same body, so many times as large."""
        affine = self.ct.affine @ np.diag([factor, factor, factor, 1])
        return replace(self, ct=nibabel.Nifti1Image(self.ct.get_fdata(dtype=np.float32), affine), spacing=spacing)

    def thick(self, together: int) -> Scan:
        """Slices that are the means of so many."""
        x, y, z = self.ct.shape
        means = self.ct.get_fdata(dtype=np.float32)[..., : z // together * together].reshape(x, y, -1, together).mean(-1)
        affine = self.ct.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (together - 1) / 2
        affine[:3, 2] *= together
        return replace(self, ct=nibabel.Nifti1Image(means, affine), together=together)


def around(middle: int, length: int, whole: int) -> slice:
    """So many voxels around one, inside the scan."""
    first = min(max(0, middle - length // 2), whole - length)
    return slice(first, first + length)


def slabs(scan: Scan, lengths: list[int], chance: np.random.Generator) -> Iterator[tuple[str, Scan]]:
    """One slab of each length that the scan has."""
    slices = np.flatnonzero((scan.reference == STRUCTURES["pancreas"]).any((0, 1)))
    for length in lengths:
        middle = int(chance.integers(slices[0], slices[-1] + 1))
        if length <= scan.ct.shape[2]:
            yield f"slab of {length} slices", scan.cut(slice(None), slice(None), around(middle, length, scan.ct.shape[2]))


def narrow(scan: Scan) -> Scan:
    """The field of view of 240x200 mm around the organs."""
    middle = [int(np.flatnonzero((scan.reference > 0).any(others)).mean()) for others in ((1, 2), (0, 2))]
    return scan.cut(*(around(m, min(n, most), n) for m, most, n in zip(middle, NARROW, scan.ct.shape[:2], strict=True)), slice(None))


def harder(scan: Scan, lengths: list[int], number: int) -> Iterator[tuple[str, Scan]]:
    """Everything that is made of a scan, by name."""
    chance = np.random.default_rng(number)
    yield from slabs(scan, lengths, chance)
    yield "as it is", scan
    yield "field of view of 240x200 mm", narrow(scan)
    for together in (4, 5):
        yield f"slices of {2 * together} mm", scan.thick(together)
    voxels = scan.ct.get_fdata(dtype=np.float32)
    yield "noise of 30 HU", scan.changed(voxels + chance.normal(0, 30, voxels.shape).astype(np.float32))
    for shift in (15, -15):
        yield f"{shift:+d} HU", scan.changed(voxels + shift)
    for factor in (0.75, 0.6, 0.5):
        yield f"body of {factor} times the size", scan.scaled(factor)
    yield "the last with `--spacing [1,1,1]`", scan.scaled(0.5, spacing=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--slices", nargs="*", type=int, default=[8, 12, 16, 20, 24, 32, 48], help="lengths of slabs, in slices of 2 mm")
    options = parser.parse_args()
    found = defaultdict(list)
    for folder in options.folders:
        for number, path in enumerate(tqdm(sorted((folder / "imagesTr").glob("*.nii.gz")), str(folder), unit="scan")):
            scan = Scan(nibabel.load(path), np.asarray(nibabel.load(folder / "labelsTr" / path.name).dataobj))
            for name, one in harder(scan, options.slices, number):
                found[name].append(one.scores())
    every = [row for name, rows in found.items() if name.startswith("slab") for row in rows]
    found |= {"all slabs": every} if every else {}
    print("| scan | number | " + " | ".join(STRUCTURES) + " |", "| --- | ---: |" + " ---: |" * len(STRUCTURES), sep="\n")
    for name, rows in found.items():
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{value:.2f}" for value in np.nanmean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
