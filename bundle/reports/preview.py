"""Pictures of one scan: the preview of a segmentation in three planes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from bundle.reports.drawing import BACKGROUND, QUIET, TEXT, WARNING, colour, cover, fit, font, grey, label, legend, outline, save
from bundle.reports.measure import amount
from bundle.reports.planes import PLANES, Views, Window

if TYPE_CHECKING:
    from bundle.reports.cases import CaseResult

WIDTH = 1200
MAX_HEIGHT = 560
EDGE = 12
GAP = 8
# finer than a screen shows is wasted; tiny scans are not blown up beyond this
MAX_PIXELS_PER_MM = 12.0


def preview(result: CaseResult, path: str | os.PathLike) -> Path:
    """Write a PNG of one case: axial, coronal and sagittal through the organs, labels as contours, a legend with volumes.

    Radiological convention (the patient's right on the left), all planes at one scale in millimetres. Where nothing
    was found, the planes go through the middle of the scan and the legend says so.

    Raises:
        ValueError: the case failed, so that there is nothing to show.
    """
    if result.error is not None or result.image is None or result.labels is None:
        raise ValueError(f"case {result.name} has no image or no labels to show")
    views = Views(result.affine, result.labels.shape)
    found = [structure for structure in result.measured.values() if structure.volume_ml > 0]
    centre = views.centre(found)
    order = {name: index for index, name in enumerate(result.measured)}

    def draw(window: Window, size: tuple[int, int]) -> np.ndarray:
        picture = grey(views.picture(result.image, window), size)
        labels = views.picture(result.labels, window)
        for structure in found:
            outline(picture, cover(labels == result.structures[structure.name], size), colour(order[structure.name]))
        return picture

    planes = row([views.body(result.image, plane, centre) for plane in PLANES], draw)
    entries = [(colour(order[s.name]), f"{s.name} {amount(s.volume_ml)} ml") for s in found]
    entries += [(None, f"{s.name}: not found") for s in result.measured.values() if s.volume_ml == 0]
    reasons = "; ".join(result.judgement.reasons)
    subtitle = (f"review: {reasons}", WARNING) if reasons else ("nothing speaks for a review", QUIET)
    return save(sheet([planes, legend(entries, WIDTH - 2 * EDGE)], title=result.name, subtitle=subtitle), path)


def row(
    windows: Sequence[Window], draw: Callable[[Window, tuple[int, int]], np.ndarray], *, width: int = WIDTH - 2 * EDGE
) -> Image.Image:
    """Pictures side by side at one scale, with the letters of the directions and a scale bar; `draw` gives each picture."""
    widths, heights = sum(w.size_mm[1] for w in windows), max(w.size_mm[0] for w in windows)
    scale = min((width - GAP * (len(windows) - 1)) / widths, MAX_HEIGHT / heights, MAX_PIXELS_PER_MM)
    sizes = [(max(24, int(w.size_mm[1] * scale)), max(24, int(w.size_mm[0] * scale))) for w in windows]
    total = sum(size[0] for size in sizes) + GAP * (len(sizes) - 1)
    strip = Image.new("RGB", (max(width, total), max(size[1] for size in sizes) + 24), BACKGROUND)
    pen = ImageDraw.Draw(strip)
    x = (strip.width - total) // 2
    for window, size in zip(windows, sizes, strict=True):
        y = (strip.height - 24 - size[1]) // 2
        strip.paste(Image.fromarray(draw(window, size)), (x, y))
        _annotate(pen, window, (x, y), size, scale)
        x += size[0] + GAP
    return strip


def _annotate(pen: ImageDraw.ImageDraw, window: Window, corner: tuple[int, int], size: tuple[int, int], scale: float) -> None:
    (x, y), (width, height) = corner, size
    left, right, top, bottom = PLANES[window.plane][3]
    if min(size) > 60:
        label(pen, (x + 5, y + height / 2), left, anchor="lm")
        label(pen, (x + width - 5, y + height / 2), right, anchor="rm")
        label(pen, (x + width / 2, y + 4), top, anchor="ma")
        label(pen, (x + width / 2, y + height - 4), bottom, anchor="md")
        bar = 50 if 50 * scale < width / 2 else 5
        if bar * scale < width / 2:
            pen.line((x + 8, y + height - 8, x + 8 + bar * scale, y + height - 8), fill=TEXT, width=3)
            label(pen, (x + 8, y + height - 12), f"{bar} mm", size=12, anchor="ld")
    caption = fit(window.caption, width + GAP, 13)
    pen.text((x + width / 2, y + height + 4), caption, font=font(13), fill=QUIET, anchor="ma")


def sheet(strips: Sequence[Image.Image], *, title: str, subtitle: tuple[str, tuple[int, int, int]] | None = None) -> Image.Image:
    """Strips below each other under a title and a subtitle (text, colour)."""
    width = max([WIDTH, *(strip.width + 2 * EDGE for strip in strips)])
    head = 34 + (24 if subtitle else 0)
    page = Image.new("RGB", (width, head + EDGE + sum(strip.height + GAP for strip in strips)), BACKGROUND)
    pen = ImageDraw.Draw(page)
    pen.text((EDGE, 8), fit(title, width - 2 * EDGE, 18, bold=True), font=font(18, True), fill=TEXT)
    if subtitle:
        pen.text((EDGE, 34), fit(subtitle[0], width - 2 * EDGE, 14), font=font(14), fill=subtitle[1])
    y = head + 6
    for strip in strips:
        page.paste(strip, (EDGE, y))
        y += strip.height + GAP
    return page
