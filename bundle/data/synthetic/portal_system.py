"""The vessels that run along the pancreas: splenic vein and artery, the confluence, portal and superior mesenteric vein.

They lie in grooves of the pancreas, as bright as it in some phases and as thick as its tail, and experts leave them out of their outlines.
Course and calibre are those of textbooks of anatomy: the splenic vein 6 to 10 mm wide, the portal vein 10 to 14.
"""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.organs import SOFT, paint_tube, tissue_set
from bundle.data.synthetic.tissues import Tissue

_LEAST_VOXELS = 60  # of the pancreas; of fewer no course can be told
_PARTS = 8  # of its length
_BODY_AND_TAIL = 6  # of them, from the tail: the neck and the confluence come next
_HILUM_MM = 90.0  # a spleen farther from the tail than this is reached by no vein
_VEIN_OVER = SOFT & ~tissue_set(Tissue.SPLEEN)
_ARTERY_OVER = _VEIN_OVER & ~tissue_set(Tissue.PORTAL_VEIN)


def paint_along_pancreas(canvas: Canvas, confluence: np.ndarray | None = None) -> None:
    """Paint the vessels along the pancreas that `canvas.tissues` has; without enough of one, nothing.

    Args:
        canvas: what is painted on.
        confluence: body coordinates in mm at which a portal vein that is painted already begins. Without it, portal and superior
            mesenteric vein are painted too.
    """
    path = _course(canvas)
    if path is None:
        return
    rng = canvas.rng
    width = rng.uniform(0.8, 1.25)
    spleen = _points(canvas, Tissue.SPLEEN)
    hilum, branches = _hilum(spleen, path[0], rng)
    vein = path + rng.normal(0, 1.5, path.shape)
    neck = vein[-1]
    splenic = np.vstack([hilum, vein, *([] if confluence is None else [confluence])])
    radii = np.linspace(rng.uniform(2.8, 4.0), rng.uniform(3.6, 5.0), len(splenic)) * width
    paint_tube(canvas, np.column_stack([splenic, radii]), Tissue.PORTAL_VEIN, over=_VEIN_OVER)
    if confluence is None:
        up = np.array([neck, neck + (14, 3, 20) + rng.normal(0, 3, 3), neck + (30, 6, 38) + rng.normal(0, 4, 3)])
        down = np.array([neck, neck + (3, 4, -25) + rng.normal(0, 3, 3), neck + (4, 12, -70) + rng.normal(0, 5, 3)])
        paint_tube(canvas, np.column_stack([up, np.array([6.0, 6.3, 6.0]) * width]), Tissue.PORTAL_VEIN, over=_VEIN_OVER)
        paint_tube(canvas, np.column_stack([down, np.array([5.8, 5.2, 3.5]) * width]), Tissue.PORTAL_VEIN, over=_VEIN_OVER)
    for target in branches:
        middle = (hilum[0] + target) / 2 + rng.normal(0, 3, 3)
        paint_tube(
            canvas,
            np.column_stack([np.array([hilum[0], middle, target]), np.array([2.6, 2.2, 1.6]) * width]),
            Tissue.PORTAL_VEIN,
            over=_VEIN_OVER,
        )
    # the artery winds along the upper edge, in front of the vein
    wave = np.where(np.arange(len(path)) % 2, 1.0, -1.0)[:, None] * rng.uniform(1, 6) * np.array([0, 0.3, 1.0])
    artery = path + (0, 4, 8) + wave + rng.normal(0, 1.5, path.shape)
    paint_tube(
        canvas,
        np.column_stack([np.vstack([hilum + (0, 2, 4), artery]), np.linspace(1.8, 2.8, len(hilum) + len(path)) * width]),
        Tissue.AORTA,
        over=_ARTERY_OVER,
    )


def _course(canvas: Canvas) -> np.ndarray | None:
    """(N, 3) body coordinates from the tail to the neck, on the back of the pancreas; None where too little of it is there."""
    points = _points(canvas, Tissue.PANCREAS)
    if len(points) < _LEAST_VOXELS:
        return None
    edges = np.quantile(points[:, 0], np.linspace(0, 1, _PARTS + 1))[: _BODY_AND_TAIL + 1]
    parts = [points[(points[:, 0] >= low) & (points[:, 0] <= high)] for low, high in pairwise(edges)]
    behind = canvas.rng.uniform(-1.5, 2.5)
    above = canvas.rng.uniform(-2, 5)
    return np.array([(part[:, 0].mean(), np.quantile(part[:, 1], 0.1) - behind, part[:, 2].mean() + above) for part in parts])


def _hilum(spleen: np.ndarray, tail: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The hilum as (1, 3), or (0, 3) where no spleen is near, and points (N, 3) on the spleen where branches end."""
    if not len(spleen):
        return np.empty((0, 3)), np.empty((0, 3))
    distance, order = cKDTree(spleen).query(tail, k=max(1, len(spleen) // 12))
    distance, order = np.atleast_1d(distance), np.atleast_1d(order)
    if distance[0] > _HILUM_MM:
        return np.empty((0, 3)), np.empty((0, 3))
    hilum = spleen[order[: max(1, len(order) // 6)]].mean(0)
    hilum = hilum + 6 * (tail - hilum) / max(1.0, float(np.linalg.norm(tail - hilum)))
    return hilum[None], spleen[rng.choice(order, int(rng.integers(2, 5)))]


def _points(canvas: Canvas, tissue: int) -> np.ndarray:
    """(N, 3) body coordinates in mm of the voxels of a tissue."""
    there = canvas.tissues == tissue
    return np.stack([field[there] for field in (canvas.x, canvas.y, canvas.z)], axis=1).astype(float)
