"""A strip of axial slices of one case, to run through on the page: tiles below each other in one JPEG, head first."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from bundle.drawing.drawing import BACKGROUND, cover, grey, label, outline
from bundle.drawing.planes import Views, Window
from bundle.files import written_aside
from bundle.structures import Colour, colours

if TYPE_CHECKING:
    from bundle.quality.cases import CaseResult

# a browser knows the number of tiles from the height of the strip: each is of this size, and the page says it too
TILE = (384, 288)
MOST_TILES = 24
# shown beyond the first and last slice with a label: what was cut off, or missed, is there
BEYOND_MM = 20.0
QUALITY, LEAST_QUALITY = 72, 16
# pixels around a structure that its contour needs
RIM = 5
MOST_BYTES = 400_000


def slices(result: CaseResult, path: str | os.PathLike) -> Path:
    """Write a JPEG of at most 24 axial slices, labels as contours, from above the highest structure to below the lowest.

    Each tile has the patient's right on the left and the number of the slice as the file counts it; all are of one scale. Where
    nothing was found, the slices are of the whole scan. The JPEG has at most about 400 kB.

    Raises:
        ValueError: the case failed, so that there is nothing to show.
    """
    image, labels, affine = result.to_show()
    views = Views(affine, labels.shape)
    windows = _windows(result, image, views)
    strip = Image.new("RGB", (TILE[0], TILE[1] * len(windows)), BACKGROUND)
    for number, window in enumerate(windows):
        strip.paste(_tile(result, image, labels, views, window), (0, number * TILE[1]))
    with written_aside(path) as aside:
        aside.write_bytes(_jpeg(strip))
    return Path(path)


def _windows(result: CaseResult, image: np.ndarray, views: Views) -> list[Window]:
    """The slices to show, the highest first, all cropped alike: to the body, and to every structure."""
    found = [structure for structure in result.measured.values() if structure.volume_ml > 0]
    centre = views.centre(found)
    low, high = 0, views.shape[2] - 1
    window = views.body(image, "axial", centre)
    if found:
        axis, direction = views.axes[2]
        first, last = min(one.bounds[axis][0] for one in found), max(one.bounds[axis][1] for one in found) - 1
        if direction < 0:
            first, last = high - last, high - first
        beyond = round(BEYOND_MM / views.spacing[2])
        low, high = max(low, first - beyond), min(high, last + beyond)
        around = views.around("axial", centre, found, margin_mm=5.0)
        window = replace(window, rows=_both(window.rows, around.rows), columns=_both(window.columns, around.columns))
    count = min(MOST_TILES, high - low + 1)
    chosen = np.linspace(high, low, count).round().astype(int)
    return [replace(window, index=int(k), caption=views.whole("axial", (*centre[:2], int(k))).caption) for k in chosen]


def _tile(result: CaseResult, image: np.ndarray, labels: np.ndarray, views: Views, window: Window) -> Image.Image:
    height_mm, width_mm = window.size_mm
    scale = min(TILE[0] / width_mm, TILE[1] / height_mm)
    size = max(1, min(TILE[0], round(width_mm * scale))), max(1, min(TILE[1], round(height_mm * scale)))
    picture = grey(views.picture(image, window), size)
    plane = np.ascontiguousarray(views.picture(labels, window))
    for name, colour in (result.colours or colours(list(result.measured))).items():
        mask = plane == result.structures[name]
        if mask.any():
            _outline(picture, mask, colour)
    tile = Image.new("RGB", TILE, BACKGROUND)
    corner = (TILE[0] - size[0]) // 2, (TILE[1] - size[1]) // 2
    tile.paste(Image.fromarray(picture), corner)
    pen = ImageDraw.Draw(tile)
    label(pen, (TILE[0] / 2, TILE[1] - 4), window.caption.removeprefix("axial, "), size=13, anchor="md")
    label(pen, (5, TILE[1] / 2), "R", anchor="lm")
    label(pen, (TILE[0] - 5, TILE[1] / 2), "L", anchor="rm")
    return tile


def _outline(picture: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Draw the border of a mask (rows, columns) into a picture of another size, in place; looks at the part that has voxels only."""
    pixels, box = [], []
    for axis in (0, 1):
        scale = picture.shape[axis] / mask.shape[axis]
        where = np.flatnonzero(mask.any(axis=1 - axis))
        start = max(0, int(where[0] * scale) - RIM)
        stop = min(picture.shape[axis], int((where[-1] + 1) * scale) + 1 + RIM)
        pixels.append(slice(start, stop))
        box.append((start / scale, min(mask.shape[axis], stop / scale)))
    part = picture[pixels[0], pixels[1]]
    outline(part, cover(mask, part.shape[1::-1], box=(box[1][0], box[0][0], box[1][1], box[0][1])), colour)


def _jpeg(strip: Image.Image) -> bytes:
    """A JPEG that is small enough: of noise it is coarser."""
    for quality in range(QUALITY, LEAST_QUALITY - 1, -14):
        buffer = io.BytesIO()
        # colours at full size: contours are a pixel or two wide
        strip.save(buffer, "JPEG", quality=quality, subsampling=0)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()


def _both(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])
