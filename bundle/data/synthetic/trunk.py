"""The trunk of the procedural abdomen: skin, fat, muscles, spine, ribs, pelvis, lungs and heart."""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bundle import grids
from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.tissues import Tissue

_VERTEBRA_MM = 34.0  # height of a vertebra with its disc


def paint_frame(canvas: Canvas, body: Physique, dome: np.ndarray | None = None, *, arms: bool = False) -> np.ndarray:
    """Paint all that organs lie in: wall, lungs and heart, back, ribs, pelvis and, on request, arms.

    Args:
        canvas: what is painted on.
        body: the patient's build.
        dome: body z of the diaphragm, any shape that broadcasts to the grid; None draws two domes.
        arms: paint the arms too.

    Returns:
        (X, Y, Z) bool: the abdomen, where organs belong.
    """
    abdomen = paint_lungs_and_heart(canvas, body, paint_trunk(canvas, body), dome)
    paint_back(canvas, body)
    paint_ribs(canvas, body)
    paint_pelvis(canvas, body)
    if arms:
        paint_arms(canvas, body)
    return abdomen


def paint_trunk(canvas: Canvas, body: Physique) -> np.ndarray:
    """Paint skin, fat and the muscular wall.

    Returns:
        (X, Y, Z) bool: the cavity within the wall, filled with visceral fat, where organs belong.
    """
    depth, angle = _depth_under_skin(canvas, body)
    front = np.clip(np.sin(angle), 0, 1)
    fat = body.fat * (1 + (body.belly - 1) * front - 0.2 * np.clip(-np.sin(angle), 0, 1)) + 1.2 * canvas.wavy
    fat = np.maximum(fat, 4).astype(np.float32)
    # Flank muscles are thick, the white line in front is thin, the back carries the erector (painted by itself).
    wall = body.wall * (0.85 + 0.45 * np.cos(angle) ** 2) - body.wall * 0.45 * np.exp(-(((angle - np.pi / 2) / 0.12) ** 2))
    hips = np.clip((-95 * body.stretch - canvas.z) / 45, 0, 1) * (front < 0.55)
    wall = wall + 26 * hips + 0.8 * canvas.wavy
    tissues = canvas.tissues
    tissues[depth > 0] = Tissue.SKIN
    tissues[depth > 2.2] = Tissue.FAT
    tissues[depth > fat] = Tissue.MUSCLE
    # A thin layer of fat between the muscles of the flank, as real walls show.
    seam = (np.abs(depth - fat - 0.55 * wall) < 0.7) & (np.abs(np.cos(angle)) > 0.5) & (canvas.wavy > -0.6)
    tissues[seam] = Tissue.FAT
    cavity = depth > fat + wall
    # Between the ribs' angle and the spine the back is all muscle.
    spine_x, spine_y = body.spine(canvas.z)
    u, v = np.abs(canvas.x - spine_x.astype(np.float32)), canvas.y - spine_y.astype(np.float32)
    cavity &= ~((v < -20 + 0.05 * u) & (u < 62 - 0.15 * np.abs(v)))
    tissues[cavity] = Tissue.VISCERAL_FAT
    return cavity


def _depth_under_skin(canvas: Canvas, body: Physique) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the skin along the ray from the axis (mm, negative outside), and the angle of that ray."""
    level = canvas.z / np.float32(150)
    girth = 1 + body.waist[0] * level + body.waist[1] * level * level
    u = np.abs(canvas.x) / (body.half_width * girth).astype(np.float32)
    v = np.abs(canvas.y) / (body.half_depth * girth).astype(np.float32)
    # a superellipse of exponent 2.5, from square roots only: powers are slow
    rho = u * u * np.sqrt(u) + v * v * np.sqrt(v)
    rho = np.maximum(np.exp(np.log(np.maximum(rho, 1e-6)) * np.float32(0.4)), 1e-3)
    depth = (1 / rho - 1) * np.hypot(canvas.x, canvas.y)
    # the furrow over the spine
    depth -= 7 * np.exp(-((canvas.x / 16) ** 2)) * (canvas.y < 0) * (depth < 60)
    return depth.astype(np.float32), np.arctan2(canvas.y, canvas.x).astype(np.float32)


def paint_back(canvas: Canvas, body: Physique) -> None:
    """Paint the muscles along the spine: erector, psoas, quadratus lumborum, crura of the diaphragm."""
    rng = canvas.rng
    bulk = rng.uniform(0.8, 1.2)
    levels = np.arange(-190, 220, 30.0)
    _, spine_y = body.spine(levels)
    for side in (-1, 1):
        for x, y, r in ((22, -48, 19), (44, -45, 20), (66, -36, 11)):
            _tube(
                canvas, [(side * x * bulk, yy + y, z, r * bulk * (1 - 0.0007 * abs(z + 60))) for yy, z in zip(spine_y, levels, strict=True)]
            )
        _, mid = body.spine(np.array([25.0, -20, -60, -100, -150, -190]))
        psoas = zip(
            (23, 29, 38, 46, 58, 66), mid + (2, 2, 4, 10, 26, 45), (25.0, -20, -60, -100, -150, -190), (5, 11, 17, 21, 22, 19), strict=True
        )
        _tube(canvas, [(side * a, b, c, r * bulk) for a, b, c, r in psoas])
        _, mid = body.spine(np.array([25.0, -30, -90]))
        _tube(
            canvas, [(side * a, b - 18, c, r * bulk) for a, b, c, r in zip((52, 58, 66), mid, (25.0, -30, -90), (7, 11, 10), strict=True)]
        )
        _, mid = body.spine(np.array([100.0, 60, 20, -15]))
        _tube(
            canvas, [(side * a, b + 22, c, r) for a, b, c, r in zip((13, 15, 16, 14), mid, (100.0, 60, 20, -15), (5, 6, 6, 3), strict=True)]
        )


def _tube(canvas: Canvas, points: ArrayLike, tissue: int = Tissue.MUSCLE, roughness: float = 0.6) -> None:
    box, distance = canvas.tube(np.array(points))
    canvas.paint(box, distance + roughness * canvas.wavy[box] < 0, tissue, over=_BODY)


_BODY = np.ones(256, bool)
_BODY[Tissue.AIR] = False


def paint_spine(canvas: Canvas, body: Physique) -> None:
    """Paint vertebrae (cortical shell, spongy core), discs, spinal canal and the processes."""
    x0, y0 = body.spine(canvas.z)
    u = canvas.x - x0.astype(np.float32)
    v = canvas.y - y0.astype(np.float32)
    box = grids.box((np.abs(u) < 50) & (v > -70) & (v < 26))
    if box is None:
        return
    u, v, z = u[box], v[box], canvas.z[box] / np.float32(body.stretch)
    rough = canvas.rough[box]
    level = z / _VERTEBRA_MM
    phase = (level - np.floor(level)) * _VERTEBRA_MM - _VERTEBRA_MM / 2  # mm from the middle of the vertebra
    waist = 1 - 0.1 * (1 - (phase / 13) ** 2)
    width = (25 - 0.018 * z) * waist
    radius = np.sqrt((u / width) ** 2 + (v / 17.5) ** 2)
    inside = (radius < 1) & ~((v < -12) & (np.abs(u) < 8))
    paint = canvas.paint
    paint(box, (radius < 0.97) & (np.abs(phase) > 12.5), Tissue.DISC, over=_BODY)
    paint(box, inside & (np.abs(phase) < 13.5), Tissue.CORTICAL_BONE, over=_BODY)
    paint(box, inside & (radius < 0.93 + 0.02 * rough) & (np.abs(phase) < 12), Tissue.SPONGY_BONE, over=_BODY)
    upper = np.abs(phase - 4) < 8
    pedicle = (np.abs(np.abs(u) - 15) < 4.5) & (v < -11) & (v > -30) & upper
    transverse = (np.abs(v + 26 + 0.3 * np.abs(u)) < 4.2 - 0.04 * np.abs(u)) & (np.abs(u) < 38) & (np.abs(phase - 3) < 5.5)
    lamina = (np.abs(v + 36 - 0.45 * np.abs(u)) < 4) & (np.abs(u) < 19) & (np.abs(phase + 3) < 11)
    facet = (np.abs(u) - 18) ** 2 + (v + 33) ** 2 < 72
    spinous = (np.abs(u) < 3.6) & (v < -36) & (v > -64) & (np.abs(phase + 5 + 0.12 * (v + 40)) < 10)
    processes = pedicle | transverse | lamina | (facet & (np.abs(phase + 14) < 12)) | spinous
    paint(box, processes, Tissue.CORTICAL_BONE, over=_BODY)
    core = (np.abs(np.abs(u) - 15) < 2.5) & pedicle | (np.abs(u) < 1.9) & spinous & (v > -61)
    paint(box, core & (rough > -0.8), Tissue.SPONGY_BONE, over=_BODY)
    paint(box, (u / 11) ** 2 + ((v + 25) / 8.5) ** 2 < 1, Tissue.SPINAL_CANAL, over=_BODY)


def paint_ribs(canvas: Canvas, body: Physique) -> None:
    """Paint the lower ribs within the wall, each falling from the spine to the front, with cartilage in front."""
    rng = canvas.rng
    slope = rng.uniform(80, 125)
    for k in range(8):  # 0 is the twelfth rib
        z_spine = (54 + 33 * k) * body.stretch
        extent = (0.30, 0.5, 0.78, 0.86, 0.92, 0.95, 0.97, 0.98)[k]
        t = np.linspace(0.08, extent, 22)
        angle = -np.pi / 2 + np.pi * t  # from the back, over the flank, to the front
        z = z_spine - slope * np.sin(np.minimum(t / 0.62, 1) * np.pi / 2) + 95 * np.clip(t - 0.62, 0, 1) * (k > 1)
        for side in (-1, 1):
            x, y = _inside_wall(body, angle, z, 0.45)
            radius = np.full_like(t, 5.2) - 1.2 * (k == 0)
            points = np.stack([side * x, y, z, radius], 1)
            bone = points if k < 2 else points[t < 0.66]
            box, distance = canvas.tube(bone)
            canvas.paint(box, distance < 0, Tissue.CORTICAL_BONE, over=_BODY)
            canvas.paint(box, distance < -2.0, Tissue.SPONGY_BONE, over=_BODY)
            if k > 1:
                _tube(canvas, points[t >= 0.64], Tissue.CARTILAGE, 0.3)


def _inside_wall(body: Physique, angle: np.ndarray, z: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, y) at a fraction of the wall's thickness, in the direction of `angle` from the axis of the trunk."""
    girth = 1 + body.waist[0] * z / 150 + body.waist[1] * (z / 150) ** 2
    outline = (np.abs(np.cos(angle) / body.half_width) ** 2.5 + np.abs(np.sin(angle) / body.half_depth) ** 2.5) ** -0.4 * girth
    front, back = np.clip(np.sin(angle), 0, 1), np.clip(-np.sin(angle), 0, 1)
    fat = body.fat * (1 + (body.belly - 1) * front - 0.2 * back)
    radius = outline - fat - fraction * body.wall * (0.85 + 0.45 * np.cos(angle) ** 2)
    return radius * np.cos(angle), radius * np.sin(angle)


def paint_pelvis(canvas: Canvas, body: Physique) -> None:
    """Paint the iliac wings and the sacrum's wings where the field of view reaches them."""
    _, spine_y = body.spine(np.array([-130.0]))
    for side in (-1, 1):
        for z in np.arange(-82, -215, -6.0):
            open_up = min(1.0, (-80 - z) / 55)
            back = np.array([44 + 4 * open_up, spine_y[0] - 34, z * body.stretch])
            front_x, front_y = _inside_wall(body, np.array([0.42]), np.array([z]), 1.0)
            front = np.array([front_x[0] - 6, front_y[0], z * body.stretch])
            middle_x, middle_y = _inside_wall(body, np.array([-0.55]), np.array([z]), 1.0)
            middle = np.array([middle_x[0] - 2, middle_y[0] + 4, z * body.stretch])
            path = [middle + (back - middle) * open_up, middle, middle + (front - middle) * open_up * 0.9]
            points = np.array([[side * p[0], p[1], p[2], r] for p, r in zip(path, (6.5, 4.5, 5.5), strict=True)])
            box, distance = canvas.tube(points)
            canvas.paint(box, distance < 0, Tissue.CORTICAL_BONE, over=_BODY)
            canvas.paint(box, distance < -2.4, Tissue.SPONGY_BONE, over=_BODY)
        wing = [(side * 20, spine_y[0] - 8, -118.0 * body.stretch, 12), (side * 38, spine_y[0] - 22, -140.0 * body.stretch, 13)]
        _tube(canvas, wing, Tissue.SPONGY_BONE)


def paint_lungs_and_heart(canvas: Canvas, body: Physique, cavity: np.ndarray, dome: np.ndarray | None = None) -> np.ndarray:
    """Paint the lungs above the diaphragm, and the heart between them.

    Args:
        canvas: what is painted on.
        body: the patient's build.
        cavity: (X, Y, Z) bool, from `paint_trunk`.
        dome: body z of the diaphragm, any shape that broadcasts to the grid; None draws two domes.

    Returns:
        (X, Y, Z) bool: the abdominal side of the diaphragm within the cavity.
    """
    rng = canvas.rng
    if dome is None:
        dome = _draw_dome(canvas, body)
    dome = dome + 1.5 * canvas.wavy
    chest = cavity & (canvas.z > dome)
    canvas.tissues[chest & (canvas.z < dome + 3.5)] = Tissue.MUSCLE
    lung = chest & (canvas.z >= dome + 3.5)
    mediastinum = np.abs(canvas.x + 8) < 26 + 0.12 * np.clip(canvas.y, 0, None)
    canvas.tissues[lung] = Tissue.LUNG
    canvas.tissues[lung & (canvas.rough > 2.1)] = Tissue.LUNG_VESSEL
    canvas.tissues[lung & mediastinum & (canvas.y > body.vertebra_y - 25)] = Tissue.VISCERAL_FAT
    box, distance = canvas.ellipsoid(body.place([-22, 38, 168 + rng.normal(0, 6)]), (58, 46, 52), angles=(0, 25, 20))
    canvas.paint(box, (distance + canvas.wavy[box] < 0) & chest[box], Tissue.MUSCLE)
    canvas.paint(box, (distance + canvas.wavy[box] < -9) & chest[box], Tissue.HEART)
    return cavity & ~chest


def _draw_dome(canvas: Canvas, body: Physique) -> np.ndarray:
    """Body z of a made-up diaphragm: two domes, the right one higher."""
    top = np.array([130, 119]) * body.stretch + canvas.rng.normal(0, 9, 2)
    inner = np.float32(body.half_width - body.fat - body.wall)
    dome = np.full(canvas.shape, -1e3, np.float32)
    for side, apex in zip((1, -1), top, strict=True):
        across = ((canvas.x - side * 0.47 * inner) / (0.62 * inner)) ** 2
        along = ((canvas.y - 12) / (0.85 * body.half_depth)) ** 2
        np.maximum(dome, apex - 42 * across - 58 * along - 14 * across * along, out=dome)
    return dome


def paint_arms(canvas: Canvas, body: Physique) -> None:
    """Paint both arms hanging at the sides of the trunk."""
    for side in (-1, 1):
        x = body.half_width + canvas.rng.uniform(42, 60)
        y = canvas.rng.uniform(-40, 10)
        line = np.array([(side * (x - 0.03 * z), y - 0.05 * z, z, 1.0) for z in (-260.0, -80.0, 100.0, 280.0)])
        for radius, tissue in (
            (44, Tissue.SKIN),
            (42, Tissue.FAT),
            (36, Tissue.MUSCLE),
            (11.5, Tissue.CORTICAL_BONE),
            (6.5, Tissue.SPONGY_BONE),
        ):
            line[:, 3] = radius
            box, distance = canvas.tube(line)
            over = ~_BODY if tissue == Tissue.SKIN else _BODY
            arm = np.abs(canvas.x[box]) > 0.9 * body.half_width
            canvas.paint(box, (distance + (1.5 * canvas.wavy[box] if radius < 40 else 0) < 0) & arm, tissue, over=over)
