"""Synthetic scans next to real ones in the same window, and HU histograms per organ: `python benchmarks/synthetic_beside_real.py`.

Needs the folder of real CT (`--data`, see docs/README.md). Writes one PNG of less than 500 KB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import nibabel as nib
import numpy as np

from bundle.data.synthetic.contrast import read_real_scan
from bundle.data.synthetic.donors import read_donor
from bundle.data.synthetic.recipes import from_donor, from_nothing, from_real

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ORGANS = {1: "pancreas", 2: "spleen", 3: "kidney"}
NATIVE, PORTAL = 0.0, 2.0
WINDOW = {"cmap": "gray", "vmin": -160, "vmax": 240}


def read_series(folder: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """A DICOM series as (X, Y, Z) RAS voxels and their size."""
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation

    image = Compose([LoadImage(reader="ITKReader", image_only=True), EnsureChannelFirst(), Orientation("RAS", labels=None)])(folder)
    return image.numpy()[0], tuple(float(p) for p in image.pixdim)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "docs" / "images" / "synthetic_beside_real.png")
    args = parser.parse_args()
    torso = read_real_scan(args.data / "ct" / "torso_3mm")
    slab, slab_size = read_series(args.data / "dicom" / "slab_20")
    whole, whole_size = read_series(args.data / "dicom" / "abdomen_168")
    structures = nib.as_closest_canonical(nib.load(args.data / "dicom" / "slab_20_structures.nii.gz"))
    slab_labels = np.asarray(structures.dataobj)
    maps = sorted((args.data / "labels" / "multiorgan").glob("*.nii.gz"))
    native = [from_donor(read_donor(path), np.random.default_rng(5 + i), (2.0,) * 3, NATIVE) for i, path in enumerate(maps[8:10])]
    portal = [from_donor(read_donor(path), np.random.default_rng(9 + i), (2.0,) * 3, PORTAL) for i, path in enumerate(maps[12:14])]
    figure, axes = plt.subplots(3, 4, figsize=(15, 10.5))
    real = [
        ("real, native (torso_3mm)", torso.image, torso.spacing, torso.labels == 2),
        ("real, native (torso_3mm)", torso.image, torso.spacing, torso.labels == 3),
        ("real, planning CT (abdomen_168)", whole, whole_size, None),
        ("real, portal (slab_20)", slab, slab_size, slab_labels == 1),
    ]
    procedural = from_nothing(np.random.default_rng(8), (2.0,) * 3)
    varied = from_real(torso, np.random.default_rng(4), (2.0,) * 3)
    made = [
        ("real organs, made-up body, native", *native[0]),
        ("real organs, made-up body, portal", *portal[0]),
        ("all made up", *procedural),
        ("torso_3mm bent, contrast simulated", *varied),
    ]
    for axis, (title, image, spacing, mask) in zip(axes[0], real, strict=True):
        show(axis, title, image, spacing, mask)
    for axis, (title, image, labels) in zip(axes[1], made, strict=True):
        show(axis, title, image, (2.0,) * 3, labels == 1)
    histograms(axes[2], torso, native, slab, slab_labels, portal)
    figure.tight_layout(pad=0.4)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=62)
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} KB")


def show(axis, title: str, image: np.ndarray, spacing: tuple[float, ...], mask: np.ndarray | None) -> None:
    """The axial slice with most of `mask`, or one at 55 % of the height; patient's right on the left."""
    level = int(mask.sum((0, 1)).argmax()) if mask is not None and mask.any() else int(image.shape[2] * 0.55)
    body = np.argwhere(image[:, :, level] > -300)
    low, high = body.min(0), body.max(0) + 1
    axis.imshow(image[low[0] : high[0], low[1] : high[1], level].T[::-1, ::-1], aspect=spacing[1] / spacing[0], **WINDOW)
    axis.set_title(title, fontsize=9)
    axis.axis("off")


def histograms(axes, torso, native: list, slab: np.ndarray, slab_labels: np.ndarray, portal: list) -> None:
    """HU of each organ: real against synthetic of the same phase."""
    pairs = [
        (f"{name}, native", torso.image[torso.labels == value], np.concatenate([i[m == value] for i, m in native]))
        for value, name in ORGANS.items()
    ]
    pairs.append(("spleen, portal", slab[slab_labels == 1], np.concatenate([i[m == 2] for i, m in portal])))
    for axis, (title, real, synthetic) in zip(axes, pairs, strict=True):
        bins = np.arange(-100, 251, 6)
        for values, label in ((real, "real"), (synthetic, "synthetic")):
            axis.hist(values, bins, density=True, histtype="step", label=f"{label}: {values.mean():.0f} ± {values.std():.0f} HU")
        axis.set_title(title, fontsize=9)
        axis.legend(fontsize=7)
        axis.set_xlabel("HU", fontsize=8)
        axis.set_yticks([])


if __name__ == "__main__":
    main()
