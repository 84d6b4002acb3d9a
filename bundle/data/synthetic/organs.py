"""The solid organs and vessels of the procedural abdomen: liver, spleen, kidneys, pancreas, aorta, cava, portal vein."""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.tissues import Tissue


def tissue_set(*tissues: int) -> np.ndarray:
    """256 bools, True for the tissues named: what a shape may be painted over."""
    chosen = np.zeros(256, bool)
    chosen[list(tissues)] = True
    return chosen


SOFT = tissue_set(
    Tissue.VISCERAL_FAT,
    *(Tissue.STOMACH_WALL, Tissue.BOWEL_WALL, Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST, Tissue.GAS, Tissue.FAECES),
    *(Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.GALLBLADDER, Tissue.SPLEEN, Tissue.PANCREAS, Tissue.PORTAL_VEIN, Tissue.ADRENAL),
)
ROOM = tissue_set(Tissue.VISCERAL_FAT)
NOT_BONE = ~tissue_set(Tissue.AIR, Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE, Tissue.DISC, Tissue.SPINAL_CANAL)


def paint_liver(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint the liver under the right dome with its veins, and the gallbladder below it."""
    rng = canvas.rng
    size = body.size * rng.uniform(0.9, 1.15)
    right = body.place([66, 0, 62]) + rng.normal(0, 4, 3)
    left = body.place([-2 - 18 * rng.random(), 44, 78]) + rng.normal(0, 5, 3)
    inner = (body.half_width - body.fat - body.wall) / 130
    lobes = [
        canvas.ellipsoid(right, np.array([70 * inner, 82, 78]) * size, angles=(0, 12 + rng.normal(0, 6), 8), margin=10),
        canvas.ellipsoid(left, np.array([56, 31, 32]) * size, angles=(0, -14, -12 + rng.normal(0, 8)), margin=10),
    ]
    # The concave lower face: everything below an oblique plane is cut away.
    floor = rng.uniform(-22, 2) * body.stretch
    for box, distance in lobes:
        shape = distance + 1.4 * canvas.wavy[box]
        low = canvas.z[box] - floor + 0.5 * (canvas.x[box] - right[0]) + 0.45 * (canvas.y[box] - right[1])
        shape = np.maximum(shape, -0.8 * low) if distance is lobes[0][1] else shape
        canvas.paint(box, (shape < 0) & abdomen[box], Tissue.LIVER, over=ROOM)
    hilum = body.place([30, 24, 44])
    portal_roots = ((62, 22, 62), (92, 0, 78), (66, -25, 60), (15, 45, 74), (-15, 55, 84), (80, 40, 40), (95, -30, 50))
    over_liver = tissue_set(Tissue.LIVER)
    for target in portal_roots:
        end = body.place(target) + rng.normal(0, 6, 3)
        middle = (hilum + end) / 2 + rng.normal(0, 6, 3)
        paint_tube(canvas, [(*hilum, 5.5), (*middle, 4.0), (*end, 1.6)], Tissue.PORTAL_VEIN, over=over_liver)
    confluence = body.place([20, -6, 100])
    for target in ((95, 0, 70), (60, 45, 62), (25, 62, 60), (-10, 50, 80), (85, -40, 80)):
        end = body.place(target) + rng.normal(0, 6, 3)
        middle = (confluence + end) / 2 + [0, 0, 10] + rng.normal(0, 5, 3)
        paint_tube(canvas, [(*confluence, 5.5), (*middle, 4.0), (*end, 1.5)], Tissue.HEPATIC_VEIN, over=over_liver)
    if rng.random() < 0.85:
        centre = body.place([44, 40, 14]) + rng.normal(0, 6, 3)
        semi = np.array([13, 15, 27]) * rng.uniform(0.6, 1.25)
        box, distance = canvas.ellipsoid(centre, semi, angles=(rng.uniform(10, 50), 20, 0))
        canvas.paint(box, distance < 0, Tissue.GALLBLADDER, over=SOFT)
    for _ in range(rng.poisson(0.6)):  # cysts and metastases
        box, distance = canvas.ellipsoid(right + rng.normal(0, 28, 3), rng.uniform(4, 14) * rng.uniform(0.8, 1.2, 3))
        canvas.paint(box, distance < 0, Tissue.LESION, over=over_liver)


def paint_spleen(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint the spleen under the left dome: a crescent along the wall, 80 to 600 ml, at times an accessory one."""
    rng = canvas.rng
    size = body.size * rng.uniform(0.78, 1.3)
    centre = body.place([-100, -36, 62]) + rng.normal(0, (5, 7, 9))
    angles = (rng.uniform(-30, 10), rng.uniform(5, 35), rng.uniform(10, 50))
    box, outer = canvas.ellipsoid(centre, np.array([29, 50, 54]) * size * rng.uniform(0.85, 1.15, 3), angles=angles, margin=10)
    hollow = centre + np.array([40, 16, 4]) * size + rng.normal(0, 4, 3)
    bend = np.array([31, 42, 60]) * size
    q = [(field[box] - np.float32(c)) / np.float32(s) for field, c, s in zip((canvas.x, canvas.y, canvas.z), hollow, bend, strict=True)]
    cut = (1 - np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)) * np.float32(bend.min())
    shape = np.maximum(outer + 1.1 * canvas.wavy[box], cut)
    canvas.paint(box, (shape < 0) & abdomen[box], Tissue.SPLEEN, over=SOFT)
    hilum = centre + np.array([22, 12, 0]) * size
    for _ in range(3):
        end = centre + rng.normal(0, 12, 3)
        paint_tube(canvas, [(*hilum, 3.4), (*((hilum + end) / 2 + rng.normal(0, 4, 3)), 2.6), (*end, 1.4)], Tissue.PORTAL_VEIN, over=ROOM)


def paint_kidneys(canvas: Canvas, body: Physique) -> None:
    """Paint both kidneys (cortex, pyramids, sinus fat, pelvis), the adrenals, and now and then a cyst."""
    rng = canvas.rng
    for side, level in ((1, -10), (-1, 4)):
        size = body.size * rng.uniform(0.85, 1.15)
        centre = body.place([side * 64, -34, level]) + rng.normal(0, (5, 5, 12))
        semi = np.array([27, 25, 55]) * size * rng.uniform(0.92, 1.08, 3)
        angles = (rng.uniform(5, 20), side * rng.uniform(8, 22), -side * rng.uniform(15, 55))
        box, outer = canvas.ellipsoid(centre, semi, angles=angles, margin=8)
        outer = outer + 1.2 * canvas.wavy[box]
        hilum = centre + np.array([-side * 21, 8, 0]) * size
        q = [
            (f[box] - np.float32(c)) / np.float32(s * size)
            for f, c, s in zip((canvas.x, canvas.y, canvas.z), hilum, (17, 13, 23), strict=True)
        ]
        sinus = (np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2) - 1) * 13 + 2.2 * canvas.wavy[box]
        canvas.paint(box, outer < 2.5 + 5 * body.visceral + 2.5 * canvas.wavy[box], Tissue.VISCERAL_FAT, over=SOFT)
        canvas.paint(box, (outer < 0) & (sinus > 0), Tissue.KIDNEY_CORTEX, over=SOFT)
        pyramids = (outer < -6.5) & (sinus > 1.5) & (canvas.wavy[box] < 0.75)
        canvas.paint(box, pyramids, Tissue.KIDNEY_MEDULLA, over=tissue_set(Tissue.KIDNEY_CORTEX))
        canvas.paint(box, (sinus < -5) & (canvas.rough[box] < 0.4) & (outer < 6), Tissue.RENAL_PELVIS, over=ROOM)
        if rng.random() < 0.25:
            box, cyst = canvas.ellipsoid(centre + [side * 20, -5, rng.normal(0, 25)], np.full(3, rng.uniform(5, 16)))
            canvas.paint(box, cyst < 0, Tissue.GALLBLADDER, over=SOFT | tissue_set(Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA))
        top = centre + [-side * 14, 6, 52 * size]
        limb = [(*(top + [side * 6, -8, -14]), 2.2), (*top, 2.6), (*(top + [-side * 7, -14, -10]), 2.0)]
        paint_tube(canvas, limb, Tissue.ADRENAL, over=ROOM)
        aorta = body.place([-4, -6, level + 6])
        vessel_end = hilum + [side * 6, 2, 0]
        paint_tube(canvas, [(*aorta, 3.0), (*((aorta + vessel_end) / 2 + [0, 5, 2]), 2.8), (*vessel_end, 2.4)], Tissue.AORTA, over=ROOM)
        cava = body.place([18, -4, level - 2])
        middle = (cava + vessel_end) / 2 + [0, 12, 0]
        paint_tube(canvas, [(*cava, 4.5), (*middle, 4.0), (*vessel_end, 3.6)], Tissue.CAVA, over=ROOM)


def paint_pancreas(canvas: Canvas, body: Physique) -> None:
    """Paint the pancreas, lobulated and interleaved with fat, from the duodenum to the hilum of the spleen, with its veins."""
    rng = canvas.rng
    tilt, sag = rng.normal(8, 14), rng.normal(0, 7)
    knots = np.array([(34, 26, -22), (33, 29, -4), (17, 38, 6), (-6, 44, 14), (-32, 34, 22), (-60, 8, 32), (-82, -12, 40)], float)
    knots[2:, 2] += tilt * np.linspace(0.2, 1, 5)
    knots[:, 2] += sag
    path = body.place(knots) + rng.normal(0, 2.5, (7, 3))
    size = body.size * rng.uniform(0.8, 1.15)
    radius = np.array([11, 14, 10, 9.5, 10.5, 10, 7.5]) * size * rng.uniform(0.85, 1.15, 7)
    box, distance = canvas.tube(np.column_stack([path, radius]), margin=8)
    lobules = rng.uniform(1.6, 3.0)
    shape = distance + lobules * canvas.rough[box] + 1.6 * canvas.wavy[box]
    canvas.paint(box, distance < 1.5 + 3 * body.visceral + 1.5 * canvas.wavy[box], Tissue.VISCERAL_FAT, over=SOFT)
    canvas.paint(box, shape < 0, Tissue.PANCREAS, over=SOFT)
    # The splenic vein runs along the back of body and tail into the portal vein behind the neck.
    vein = path[2:] + np.array([2, -11, 2.0]) * size
    portal = body.place([[22, 22, 16], [28, 20, 30], [32, 24, 44]])
    paint_tube(canvas, [(*p, 4.0) for p in vein[::-1]] + [(*portal[0], 5.5)], Tissue.PORTAL_VEIN, over=SOFT)
    paint_tube(canvas, [(*p, 6.3) for p in (vein[0], *portal)], Tissue.PORTAL_VEIN, over=SOFT)
    mesenteric = body.place([[12, 28, 4], [10, 30, -22], [14, 34, -60], [20, 40, -95]])
    paint_tube(
        canvas, [(*vein[0], 6), *((*p, r) for p, r in zip(mesenteric, (5.6, 5, 4.2, 2.5), strict=True))], Tissue.PORTAL_VEIN, over=SOFT
    )


def paint_great_vessels(canvas: Canvas, body: Physique) -> None:
    """Paint aorta (with plaques), cava, and the arteries that leave the aorta in front."""
    rng = canvas.rng
    levels = np.array([200, 130, 70, 20, -30, -75]) * body.stretch
    x, y = body.spine(levels)
    calibre = rng.uniform(8.5, 12.5)
    aorta_x = x + np.array([-18, -14, -9, -7, -7, -5]) + rng.normal(0, 2, 6)
    aorta_y = y + 18 + np.array([-4, 4, 11, 11, 10, 9]) + rng.normal(0, 1.2, 6)
    aorta = np.column_stack([aorta_x, aorta_y, levels, calibre * np.linspace(1.2, 0.85, 6)])
    cava_x, cava_y = x + np.array([24, 23, 22, 21, 20, 18]), y + 18 + np.array([24, 20, 10, 8, 8, 8])
    for shift in (-3.5, 3.5):
        cava = np.column_stack([cava_x + shift, cava_y, levels, rng.uniform(7, 10) * np.ones(6)])
        paint_tube(canvas, cava, Tissue.CAVA, over=NOT_BONE)
    paint_tube(canvas, aorta, Tissue.AORTA, over=NOT_BONE)
    last = levels[-1]
    for side in (-1, 1):
        spread = [(side * 10, 4, -28), (side * 28, 2, -62), (side * 46, 14, -110)]
        for start, tissue, back in ((aorta[-1], Tissue.AORTA, 0), ((cava_x[-1], cava_y[-1], last), Tissue.CAVA, -7)):
            points = [(*start[:3], 7)] + [(start[0] + a, start[1] + b + back, last + c, 6) for a, b, c in spread]
            paint_tube(canvas, points, tissue, over=NOT_BONE)
    front = aorta[3, :3] + [0, calibre, 0]
    paint_tube(canvas, [(*front, 4), (*(front + [0, 14, -12]), 3.8), (*(front + [4, 18, -60]), 3)], Tissue.AORTA, over=SOFT)
    trunk = front + [0, 0, 18]
    for end in ((38, 12, 14), (-55, -12, 10)):  # hepatic and splenic artery
        points = [
            (*trunk, 3.6),
            (*(trunk + [0, 13, 2]), 3.2),
            (*(trunk + np.array(end) * 0.6 + rng.normal(0, 3, 3)), 2.6),
            (*(trunk + end), 2.2),
        ]
        paint_tube(canvas, points, Tissue.AORTA, over=SOFT)
    for _ in range(rng.poisson(2.5)):
        place, turn = rng.integers(1, 6), rng.uniform(0, 2 * np.pi)
        at = aorta[place, :3] + [calibre * np.cos(turn), calibre * np.sin(turn), rng.uniform(-25, 25)]
        box, distance = canvas.ellipsoid(at, (1.8, 2.2, 4))
        canvas.paint(box, distance < 0, Tissue.CALCIFICATION, over=NOT_BONE)


def paint_tube(canvas: Canvas, points: ArrayLike, tissue: int, *, over: np.ndarray) -> None:
    """Paint a tube along a curve through points (x, y, z, radius) in body coordinates, mm."""
    box, distance = canvas.tube(np.array(points, float))
    canvas.paint(box, distance < 0, tissue, over=over)
