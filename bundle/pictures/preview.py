"""Pictures of one scan: the preview of a segmentation in three planes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle.drawing.drawing import QUIET, WARNING, cover, grey, legend, outline, save
from bundle.drawing.layout import WIDTH, row, sheet
from bundle.drawing.planes import PLANES, Views, Window
from bundle.quality.measure import amount
from bundle.structures import Colour, colours

if TYPE_CHECKING:
    from bundle.quality.cases import CaseResult


def preview(result: CaseResult, path: str | os.PathLike) -> Path:
    """Write a PNG of one case: axial, coronal and sagittal through the organs, labels as contours, a legend with volumes.

    Radiological convention (the patient's right on the left), all planes at one scale in millimetres. Where nothing
    was found, the planes go through the middle of the scan and the legend says so.

    Raises:
        ValueError: the case failed, so that there is nothing to show.
    """
    image, labels, affine = result.to_show()
    views = Views(affine, labels.shape)
    found = [structure for structure in result.measured.values() if structure.volume_ml > 0]
    centre = views.centre(found)
    shades = result.colours or colours(list(result.measured))

    def draw(window: Window, size: tuple[int, int]) -> np.ndarray:
        picture = grey(views.picture(image, window), size)
        plane = views.picture(labels, window)
        for structure in found:
            outline(picture, cover(plane == result.structures[structure.name], size), shades[structure.name])
        return picture

    planes = row([views.body(image, plane, centre) for plane in PLANES], draw)
    entries: list[tuple[Colour | None, str]] = [(shades[s.name], f"{s.name} {amount(s.volume_ml)} ml") for s in found]
    entries += [(None, f"{s.name}: not found") for s in result.measured.values() if s.volume_ml == 0]
    reasons = "; ".join(result.judgement.reasons)
    subtitle = (f"review: {reasons}", WARNING) if reasons else ("nothing to review", QUIET)
    return save(sheet([planes, legend(entries, WIDTH)], title=result.name, subtitle=subtitle), path)
