"""A picture of the gates' attention coefficients over the scan (the paper's figures 3a and 4)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bundle.drawing.drawing import BACKGROUND, QUIET, TEXT, blend, cover, font, grey, grey_window, outline, resize, save
from bundle.drawing.layout import GAP, WIDTH, row, sheet
from bundle.drawing.planes import PLANES, Views, Window
from bundle.quality.measure import measure_structures
from bundle.structures import colours

MAX_HEIGHT = 300
OPACITY = 0.6
# a gate that is open everywhere must not look as if it chose
MIN_SPAN = 0.05


def attention_preview(
    image: np.ndarray,
    coefficients: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    *,
    affine: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    structures: Mapping[str, int] | None = None,
    title: str = "attention coefficients",
) -> Path:
    """Write a PNG: the scan in three planes, and below it a row per gate with its coefficients in colour over the scan.

    Each gate's colours span its own range inside the picture (1st to 99th percentile, at least 0.05), which is written below it:
    gates differ in level more than in pattern.

    Args:
        image: (X, Y, Z), HU or normalised.
        coefficients: gate to its alpha, (X, Y, Z) on the grid of `image`: in 0..1, or uint8 in steps of 1/255.
        path: of the PNG.
        affine: (4, 4), from voxel indices to RAS+ millimetres; the identity by default.
        labels, structures: a label map on the same grid and its names: the planes go through the organs and show their
            contours. Without them the planes go through the middle.
        title: heading.

    Raises:
        ValueError: a gate's coefficients, or the labels, have another shape than the image.
    """
    for name, values in (*coefficients.items(), *({"labels": labels} if labels is not None else {}).items()):
        if values.shape != image.shape:
            raise ValueError(f"{name} has the shape {values.shape}, the image {image.shape}")
    affine = np.eye(4) if affine is None else np.asarray(affine)
    views = Views(affine, image.shape)
    named = {name: int(value) for name, value in (structures or {}).items() if int(value) != 0}
    shades = colours(list(named))
    measured = measure_structures(labels, affine, named) if labels is not None else {}
    centre = views.centre(structure for structure in measured.values() if structure.volume_ml)
    windows = [views.body(image, plane, centre) for plane in PLANES]
    span = grey_window(image)

    def scan(window: Window, size: tuple[int, int], alpha: np.ndarray | None = None, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        picture = grey(views.picture(image, window), size, span)
        if alpha is not None:
            level = np.clip((resize(_level(views, alpha, window), size) - low) / max(high - low, 1e-6), 0.0, 1.0)
            blend(picture, np.full(level.shape, OPACITY, np.float32), _colours(level))
        if labels is not None:
            plane, thin = views.picture(labels, window), 1.0 if alpha is not None else 1.6
            for name, value in named.items():
                outline(picture, cover(plane == value, size), shades[name], thin)
        return picture

    strips = [row(windows, scan, max_height=MAX_HEIGHT, name="scan")]
    for name, alpha in coefficients.items():
        seen = np.concatenate([_level(views, alpha, window).ravel() for window in windows])
        low, high = (float(limit) for limit in np.nanpercentile(seen, (1, 99)))
        low = max(0.0, min(low, high - MIN_SPAN))
        heat = partial(scan, alpha=alpha, low=low, high=high)
        strips += [row(windows, heat, max_height=MAX_HEIGHT, captions=False, name=name), _bar(low, high)]
    return save(sheet(strips, title=title), path)


def _level(views: Views, alpha: np.ndarray, window: Window) -> np.ndarray:
    picture = views.picture(alpha, window)
    return picture / np.float32(255) if picture.dtype == np.uint8 else picture.astype(np.float32)


def _colours(level: np.ndarray) -> np.ndarray:
    """(..., 3) colours in 0..255 for levels in 0..1: matplotlib's inferno, readable in grey and for the colour-blind."""
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](level))[..., :3] * 255.0


def _bar(low: float, high: float) -> Image.Image:
    strip = Image.new("RGB", (WIDTH, 22), BACKGROUND)
    ramp = np.broadcast_to(_colours(np.linspace(0, 1, 220)), (10, 220, 3)).astype(np.uint8)
    pen, left = ImageDraw.Draw(strip), WIDTH // 2 - 110
    strip.paste(Image.fromarray(ramp), (left, 4))
    pen.text((left - GAP, 9), f"{low:.2f}", font=font(13), fill=TEXT, anchor="rm")
    pen.text((left + 220 + GAP, 9), f"{high:.2f}", font=font(13), fill=TEXT, anchor="lm")
    pen.text((left + 220 + 6 * GAP, 9), "alpha", font=font(13), fill=QUIET, anchor="lm")
    return strip
