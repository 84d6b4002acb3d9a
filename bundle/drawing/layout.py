"""Putting pictures of planes side by side at one scale, with directions and a scale bar, and rows below each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from bundle.drawing.drawing import BACKGROUND, QUIET, TEXT, Colour, fit, font, label, wrap
from bundle.drawing.planes import PLANES, Window

EDGE = 12
GAP = 8
WIDTH = 1200 - 2 * EDGE
MAX_HEIGHT = 560
SUBTITLE_LINES = 3
# finer than a screen shows is wasted; tiny scans are not blown up beyond this
MAX_PIXELS_PER_MM = 12.0

Draw = Callable[[Window, tuple[int, int]], np.ndarray]


def row(
    windows: Sequence[Window], draw: Draw, *, width: int = WIDTH, max_height: int = MAX_HEIGHT, captions: bool = True, name: str = ""
) -> Image.Image:
    """Pictures side by side at one scale, with the letters of the directions and a scale bar.

    `draw(window, (width, height))` gives each picture, (height, width, 3) uint8; `name` is written on the first one.
    """
    widths, heights = sum(w.size_mm[1] for w in windows), max(w.size_mm[0] for w in windows)
    scale = min((width - GAP * (len(windows) - 1)) / widths, max_height / heights, MAX_PIXELS_PER_MM)
    sizes = [(max(24, int(w.size_mm[1] * scale)), max(24, int(w.size_mm[0] * scale))) for w in windows]
    total = sum(size[0] for size in sizes) + GAP * (len(sizes) - 1)
    foot = 24 if captions else 0
    strip = Image.new("RGB", (max(width, total), max(size[1] for size in sizes) + foot), BACKGROUND)
    pen = ImageDraw.Draw(strip)
    x = (strip.width - total) // 2
    for window, size in zip(windows, sizes, strict=True):
        first = window is windows[0]
        y = (strip.height - foot - size[1]) // 2
        strip.paste(Image.fromarray(draw(window, size)), (x, y))
        _annotate(pen, window, (x, y), size, scale)
        if name and first:
            label(pen, (x + 6, y + 5), name, size=15)
        if captions:
            text = fit(window.caption, size[0] + GAP, 13)
            pen.text((x + size[0] / 2, y + size[1] + 4), text, font=font(13), fill=QUIET, anchor="ma")
        x += size[0] + GAP
    return strip


def _annotate(pen: ImageDraw.ImageDraw, window: Window, corner: tuple[int, int], size: tuple[int, int], scale: float) -> None:
    (x, y), (width, height) = corner, size
    left, right, top, bottom = list(PLANES[window.plane][3])
    if min(size) > 60:
        label(pen, (x + 5, y + height / 2), left, anchor="lm")
        label(pen, (x + width - 5, y + height / 2), right, anchor="rm")
        label(pen, (x + width / 2, y + 4), top, anchor="ma")
        label(pen, (x + width / 2, y + height - 4), bottom, anchor="md")
        bar = 50 if 50 * scale < width / 2 else 5
        if bar * scale < width / 2:
            pen.line((x + 8, y + height - 8, x + 8 + bar * scale, y + height - 8), fill=TEXT, width=3)
            label(pen, (x + 8, y + height - 12), f"{bar} mm", size=12, anchor="ld")


def sheet(strips: Sequence[Image.Image], *, title: str, subtitle: tuple[str, Colour] | None = None) -> Image.Image:
    """Strips below each other under a title and a subtitle (text, colour)."""
    width = max([WIDTH, *(strip.width for strip in strips)]) + 2 * EDGE
    text, colour = subtitle or ("", TEXT)
    lines = wrap(text, width - 2 * EDGE, 14, SUBTITLE_LINES)
    head = 34 + 20 * len(lines) + (4 if lines else 0)
    page = Image.new("RGB", (width, head + EDGE + sum(strip.height + GAP for strip in strips)), BACKGROUND)
    pen = ImageDraw.Draw(page)
    pen.text((EDGE, 8), fit(title, width - 2 * EDGE, 18, bold=True), font=font(18, True), fill=TEXT)
    for index, line in enumerate(lines):
        pen.text((EDGE, 34 + 20 * index), line, font=font(14), fill=colour)
    y = head + 6
    for strip in strips:
        page.paste(strip, (EDGE, y))
        y += strip.height + GAP
    return page
