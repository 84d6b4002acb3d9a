"""What the scanner does to a body: point spread, thick slices, the voxel grid, noise, the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bundle.data.synthetic.fields import linear_resample


@dataclass(frozen=True)
class Scan:
    """How one scan is made.

    Attributes:
        spacing: voxel size in mm of the image, in plane and between slices.
        thickness: slice thickness in mm (full width at half maximum of the slice profile).
        blur: standard deviation in mm of the in-plane point spread.
        noise: standard deviation of the noise in HU.
        grain: standard deviation in mm of the noise's correlation in plane (the reconstruction kernel).
    """

    spacing: tuple[float, float, float]
    thickness: float
    blur: float
    noise: float
    grain: float

    @staticmethod
    def draw(rng: np.random.Generator, spacing: tuple[float, float, float]) -> Scan:
        """A protocol for voxels of this size: thin slices are noisier, soft kernels blur more and are less noisy."""
        softness = rng.random()
        return Scan(
            spacing=spacing,
            thickness=spacing[2] * rng.uniform(0.8, 1.3),
            blur=0.45 + 0.5 * softness,
            noise=float(rng.uniform(6, 17) * (1.25 - 0.5 * softness) * (2.5 / spacing[2]) ** 0.25),
            grain=0.45 + 0.55 * softness,
        )


def expose(image: np.ndarray, spacing: tuple[float, float, float], scan: Scan, shape: tuple[int, int, int]) -> np.ndarray:
    """Image (HU) of a noise-free body on a fine grid, as the scanner shows it without noise on its own grid.

    Both grids share axes and centre. Partial volume comes from the blur and the slice profile before sampling.

    Args:
        image: (X, Y, Z) float32 in HU on the working grid.
        spacing: voxel size of the working grid in mm.
        scan: how the scan is made.
        shape: voxels of the result.
    """
    # In plane a voxel averages over its box (variance w squared over 12); the slice profile is a bell of the given width.
    variance = [max(0.0, w * w - s * s) / 12 + scan.blur**2 for w, s in zip(scan.spacing[:2], spacing[:2], strict=True)]
    variance.append(max(0.0, (scan.thickness / 2.355) ** 2 - spacing[2] ** 2 / 12))
    sigma = [np.sqrt(v) / s for v, s in zip(variance, spacing, strict=True)]
    image = ndimage.gaussian_filter(image, sigma, truncate=3, mode="nearest")
    return resample(image, spacing, scan.spacing, shape)


def resample(image: np.ndarray, spacing: tuple[float, ...], new_spacing: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation onto a grid with the same axes and centre; edges are continued outwards."""
    order = np.argsort([n / old for n, old in zip(shape, image.shape, strict=True)])  # shrinking axes first: less work
    for axis in order:
        n, old = shape[axis], image.shape[axis]
        positions = ((np.arange(n) - (n - 1) / 2) * new_spacing[axis]) / spacing[axis] + (old - 1) / 2
        image = linear_resample(image, positions, int(axis))
    return image


def resample_labels(labels: np.ndarray, spacing: tuple[float, ...], new_spacing: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Labels (uint8) on another grid: the structure that fills most of each voxel, so outlines stay smooth at any voxel size."""
    best = np.full(shape, 0.5, np.float32)
    result = np.zeros(shape, np.uint8)
    for value in np.unique(labels[labels > 0]):
        sigma = [max(0.0, (new**2 - old**2) / 12) ** 0.5 / old for new, old in zip(new_spacing, spacing, strict=True)]
        share = ndimage.gaussian_filter((labels == value).astype(np.float32), sigma, truncate=3)
        share = resample(share, spacing, new_spacing, shape)
        wins = share >= best
        result[wins] = value
        best[wins] = share[wins]
    return result


def add_noise(image: np.ndarray, scan: Scan, rng: np.random.Generator) -> np.ndarray:
    """Add correlated noise in HU to an image (X, Y, Z), in place; more where the body is wide, as photons are fewer there."""
    white = rng.standard_normal(image.shape, dtype=np.float32)
    sigma = [scan.grain / s for s in scan.spacing[:2]]
    # Filtered back-projection gives band-limited noise: a soft low-pass less its own broad average.
    fine = ndimage.gaussian_filter(white, (*sigma, 0.35), truncate=2.5, mode="wrap")
    broad = ndimage.uniform_filter1d(fine, max(3, int(7 / scan.spacing[0])), axis=0, mode="wrap")
    fine -= 0.6 * ndimage.uniform_filter1d(broad, max(3, int(7 / scan.spacing[1])), axis=1, mode="wrap")
    fine *= scan.noise / max(float(fine[::2, ::2].std()), 1e-6)
    body = (image > -500).mean(axis=(0, 1)) * image.shape[0] * scan.spacing[0] * image.shape[1] * scan.spacing[1]
    fine *= np.sqrt(np.maximum(body, 2e4) / 7e4).astype(np.float32)
    image += fine
    return image
