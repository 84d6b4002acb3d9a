"""What is around and within the organs of a real abdomen and in no atlas: jejunum, strands, nodes, fat between lobules.

None of it is anatomy in detail. It fills the fat around the organs with soft tissue of any grey value that the scan knows, so
that a network has to learn an organ's shape and place and not "the soft tissue in the fat" (domain randomisation, Billot et al.,
doi:10.1016/j.media.2023.102789).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.gut import SMALL_BOWEL, paint_gut, walk
from bundle.data.synthetic.organs import ROOM
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.tissues import Tissue

# Body coordinates (mm) between which the jejunum's loops, and everything else, may be.
_JEJUNUM = (np.array([-100, -8, -70.0]), np.array([25, 76, 72.0]))
_ANYWHERE = (np.array([-105, -40, -90.0]), np.array([105, 80, 100.0]))
_GREYS = (Tissue.PORTAL_VEIN, Tissue.AORTA, Tissue.CAVA, Tissue.BOWEL_WALL, Tissue.MUSCLE, Tissue.SOFT_CONTENT, Tissue.ADRENAL)


def paint_clutter(canvas: Canvas, body: Physique, amount: float) -> None:
    """Paint loops of jejunum, strands and nodes into the visceral fat, around what is painted already.

    Args:
        canvas: what is painted on; only its visceral fat is painted over.
        body: the patient's build.
        amount: 0 (nothing) to 1 (fat as crowded as in a lean patient).
    """
    rng = canvas.rng
    everywhere = np.broadcast_to(np.True_, canvas.shape)
    for _ in range(round(14 * amount)):
        path = walk(rng, *_JEJUNUM, steps=(4, 8), length=18.0, bend=0.7)
        paint_gut(
            canvas,
            np.column_stack([body.place(path), rng.uniform(7, 19) * rng.uniform(0.85, 1.15, len(path))]),
            wall=rng.uniform(2, 4.5),
            content=int(rng.choice(SMALL_BOWEL, p=(0.35, 0.3, 0.3, 0.05))),
            gas=0.3 if rng.random() < 0.1 else 0.0,
            over=ROOM,
            wall_tissue=Tissue.BOWEL_WALL,
            abdomen=everywhere,
        )
    for _ in range(round(50 * amount)):
        path = walk(rng, *_ANYWHERE, steps=(2, 5), length=rng.uniform(8, 22), bend=0.7)
        points = np.column_stack([body.place(path), rng.uniform(0.9, 2.6, len(path))])
        box, distance = canvas.tube(points)
        canvas.paint(box, distance < 0, int(rng.choice(_GREYS)), over=ROOM)
    for _ in range(round(40 * amount)):
        semi = rng.uniform(2.0, 7.0) * rng.uniform(0.7, 1.6, 3)
        box, distance = canvas.ellipsoid(body.place(rng.uniform(*_ANYWHERE)), semi, angles=rng.uniform(0, 180, 3))
        canvas.paint(box, distance + 0.8 * canvas.rough[box] < 0, int(rng.choice(_GREYS)), over=ROOM)


# what closes up where there is no fat, and what a loop of it may hold; the labelled organs and the vessels keep their size
_YIELDING = (Tissue.LIVER, Tissue.STOMACH_WALL, Tissue.BOWEL_WALL, Tissue.DUODENUM_WALL, Tissue.COLON_WALL, Tissue.MUSCLE)
_HELD = (Tissue.BOWEL_WALL, Tissue.SOFT_CONTENT, Tissue.WATERY_CONTENT, Tissue.DILUTE_CONTRAST, Tissue.ORAL_CONTRAST)
_AROUND_MM = 50.0


def crowd(canvas: Canvas, reach: float, seam: float) -> None:
    """Let the organs around the pancreas close up to it and to each other, as in lean people, who have hardly any fat between them.

    Args:
        canvas: what is painted on; only its visceral fat within about 40 mm of the pancreas is painted over.
        reach: up to how far (mm) liver, stomach, bowel and muscle grow into the fat.
        seam: share of the pancreas's surface where a voxel of fat stays, 0 to 1.
    """
    pancreas = canvas.tissues == Tissue.PANCREAS
    if not pancreas.any():
        return
    margins = [round(_AROUND_MM / size) for size in canvas.spacing]
    found = ndimage.find_objects(pancreas.astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(found, margins, strict=True))
    tissues, rough, wavy = canvas.tissues[box], canvas.rough[box], canvas.wavy[box]
    yielding = np.isin(tissues, _YIELDING)
    if not yielding.any():
        return
    distance, nearest = ndimage.distance_transform_edt(~yielding, sampling=canvas.spacing, return_indices=True)
    near = ndimage.distance_transform_edt(~pancreas[box], sampling=canvas.spacing) + 6 * wavy < _AROUND_MM - 10
    filled = (tissues == Tissue.VISCERAL_FAT) & (distance + 1.5 * rough < reach) & near
    if seam > 0:
        beside = ndimage.binary_dilation(pancreas[box]) & filled
        if beside.any():
            filled &= ~(beside & (wavy > np.quantile(wavy[beside], 1 - seam)))
    grown = tissues[tuple(nearest)]
    grown[wavy > 0.8] = canvas.rng.choice(_HELD)
    grown[wavy < -0.8] = canvas.rng.choice(_HELD)
    tissues[filled] = grown[filled]


def infiltrate(canvas: Canvas, share: float) -> None:
    """Put fat between the lobules of the pancreas, as in most elderly patients; experts' outlines include it.

    Args:
        canvas: what is painted on; take the labels from it before.
        share: share of the pancreas that becomes fat, 0 to 1.
    """
    pancreas = canvas.tissues == Tissue.PANCREAS
    if share <= 0 or not pancreas.any():
        return
    canvas.tissues[pancreas & (canvas.rough > np.quantile(canvas.rough[pancreas], 1 - share))] = Tissue.VISCERAL_FAT
