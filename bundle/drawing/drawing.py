"""Drawing with Pillow: grey pictures, smooth contours, text. About ten times faster than a matplotlib figure of the same content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from bundle.files import written_aside
from bundle.structures import PALETTE, Colour

BACKGROUND: Colour = (16, 18, 22)
TEXT: Colour = (236, 238, 242)
QUIET: Colour = (160, 166, 176)
WARNING: Colour = (255, 196, 64)
COLOURS = PALETTE
# soft tissue of the abdomen: level 40, width 400
SOFT_TISSUE_WINDOW = (-160.0, 240.0)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it: it has the letters of most languages that case names are written in."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_matplotlib_data() / "fonts" / "ttf" / name), size)


def _matplotlib_data() -> Path:
    """The folder of matplotlib's data, found without importing it where it lies in its usual place."""
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (data := Path(folder, "mpl-data")).is_dir():
            return data
    import matplotlib

    return Path(matplotlib.get_data_path())


def grey(values: np.ndarray, size: tuple[int, int], window: tuple[float, float] = SOFT_TISSUE_WINDOW) -> np.ndarray:
    """(height, width, 3) uint8 picture of (rows, columns) values, `window` from black to white; size is (width, height)."""
    low, high = window
    scaled = np.nan_to_num((values.astype(np.float32) - low) * (255.0 / (high - low)), nan=0.0, posinf=255.0, neginf=0.0)
    picture = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(picture)[..., None], 3, axis=2)


def grey_window(image: np.ndarray) -> tuple[float, float]:
    """The values of an image of any shape to show as black and white: soft tissue for HU, else all but the lowest and highest percent."""
    sample = image[tuple(slice(None, None, max(1, n // 48)) for n in image.shape)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return SOFT_TISSUE_WINDOW
    low, high = (float(value) for value in np.percentile(sample, (1, 99)))
    looks_like_hu = low < -300 and high > 0
    return SOFT_TISSUE_WINDOW if looks_like_hu or high <= low else (low, high)


def resize(values: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(height, width) float32 of (rows, columns) values, linearly interpolated; size is (width, height).

    `box` (left, top, right, bottom), in columns and rows: only this part of the values.
    """
    return np.asarray(Image.fromarray(np.asarray(values, np.float32)).resize(size, Image.Resampling.BILINEAR, box))


def cover(mask: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """(height, width) float32 in 0..1: a mask of (rows, columns) enlarged smoothly; its border is where it passes 0.5.

    `box` as in `resize`.
    """
    smooth = ndimage.gaussian_filter(resize(mask, size, box), 0.8)
    top = float(smooth.max(initial=0.0))
    # a structure of a voxel or two must not vanish when the picture is smaller than the slice
    return smooth if top == 0 or top > 0.75 else smooth / top


def outline(picture: np.ndarray, covered: np.ndarray, colour: Colour, width: float = 1.6) -> None:
    """Draw the border of what `cover` gives into a (height, width, 3) picture, in place, without jags."""
    if not covered.any():
        return
    rows, columns = np.gradient(covered)
    distance = np.abs(covered - 0.5) / np.maximum(np.hypot(rows, columns), 1e-3)
    blend(picture, np.clip(width / 2 + 0.5 - distance, 0.0, 1.0), colour)


def blend(picture: np.ndarray, opacity: np.ndarray, colour: Colour | np.ndarray) -> None:
    """Lay a colour over a (height, width, 3) picture, in place; opacity (height, width) in 0..1."""
    shown = opacity[..., None]
    picture[:] = np.round(picture * (1.0 - shown) + np.asarray(colour, dtype=np.float32) * shown).astype(np.uint8)


def label(draw: ImageDraw.ImageDraw, position: tuple[float, float], text: str, *, size: int = 14, anchor: str = "la") -> None:
    """Text that is readable on any picture: with a dark rim."""
    draw.text(position, text, font=font(size), fill=TEXT, anchor=anchor, stroke_width=2, stroke_fill=BACKGROUND)


def fit(text: str, width: float, size: int, *, bold: bool = False) -> str:
    """The text, shortened with an ellipsis until it is at most `width` pixels wide."""
    if font(size, bold).getlength(text) <= width:
        return text
    while text and font(size, bold).getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: float, size: int, lines: int) -> list[str]:
    """The text in at most so many lines of at most `width` pixels, broken between words; the last one is shortened."""
    broken: list[str] = []
    words = text.split()
    while words and len(broken) < lines - 1:
        taken = 1
        while taken < len(words) and font(size).getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        broken.append(fit(" ".join(words[:taken]), width, size))
        words = words[taken:]
    return [*broken, fit(" ".join(words), width, size)] if words else broken


def legend(entries: Sequence[tuple[Colour | None, str]], width: int, *, size: int = 15) -> Image.Image:
    """A strip with a coloured bar and a text per entry, as many lines as it needs; an empty bar where there is no colour."""
    height = size + 11
    places, x, line = [], 0.0, 0
    for _, text in entries:
        needed = font(size).getlength(text) + 52
        if x and x + needed > width:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += needed
    strip = Image.new("RGB", (width, (line + 1) * height if entries else 0), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for (bar, text), (x, line) in zip(entries, places, strict=True):
        middle = line * height + height / 2
        draw.rounded_rectangle((x, middle - 3, x + 22, middle + 3), radius=3, fill=bar, outline=bar or QUIET)
        draw.text((x + 30, middle), fit(text, width - x - 32, size), font=font(size), fill=TEXT, anchor="lm")
    return strip


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, as wide as the widest."""
    whole = Image.new("RGB", (max(picture.width for picture in pictures), sum(picture.height for picture in pictures)), BACKGROUND)
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole


def save(picture: Image.Image, path: str | os.PathLike) -> Path:
    """Write a PNG: whole or not at all."""
    with written_aside(path) as aside:
        picture.save(aside, format="PNG", compress_level=4)
    return Path(path)
