"""Real organs in a made-up body: the trunk is fitted around a donor's organs, which are bent, scaled and painted into it."""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from bundle.data.synthetic import gut, organs, trunk
from bundle.data.synthetic.canvas import Box, Canvas, rotation_matrix
from bundle.data.synthetic.donors import Donor, Organ
from bundle.data.synthetic.fields import tile_noise
from bundle.data.synthetic.organs import SOFT, tissue_set
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.portal_system import paint_along_pancreas
from bundle.data.synthetic.tissues import Tissue

_SOLID = {"liver": Tissue.LIVER, "gallbladder": Tissue.GALLBLADDER, "oesophagus": Tissue.OESOPHAGUS, "spleen": Tissue.SPLEEN}
_OVER = SOFT | tissue_set(Tissue.MUSCLE, Tissue.FAT, Tissue.LUNG, Tissue.LUNG_VESSEL, Tissue.OESOPHAGUS, Tissue.HEART)


# degrees (sd) about the left-right, front-back and head-foot axis that a pancreas is turned by
PANCREAS_TURN = np.array([10.0, 18.0, 12.0])


def fit_body(donor: Donor, rng: np.random.Generator) -> tuple[Physique, np.ndarray]:
    """A build whose cavity holds a donor's organs.

    Returns:
        The build, and the RAS position (mm) in the donor's scan of the origin of body coordinates.
    """
    body = Physique.draw(rng)
    cloud = np.vstack([donor.organs[name].points() for name in ("liver", "spleen", "kidney_left", "stomach") if name in donor.organs])
    kidney = donor.organs["kidney_left"].points().mean(0)
    low, high = np.quantile(cloud, 0.002, axis=0), np.quantile(cloud, 0.998, axis=0)
    middle_x = 0.6 * (low[0] + high[0]) / 2 + 0.4 * (kidney[0] + 62)
    vertebra_y = kidney[1] + rng.uniform(3, 11)
    back = vertebra_y - rng.uniform(60, 70) - 0.8 * body.fat
    front = high[1] + rng.uniform(2, 14) + body.fat * body.belly + body.wall
    origin = np.array([middle_x, (front + back) / 2, kidney[2] - 4 + rng.normal(0, 5)])
    cloud = cloud - origin
    half_depth = (front - back) / 2
    # organs of a large person leave less room for fat, or the body would not fit a scanner
    body = replace(body, fat=float(np.clip(205 - np.abs(cloud[:, 0]).max() - body.wall, 6, body.fat)))
    half_width = max(np.abs(cloud[:, 0]).max() * 0.97 + body.fat + body.wall, half_depth * 1.2)
    body = replace(body, half_width=float(half_width), half_depth=float(half_depth), vertebra_y=float(vertebra_y - origin[1]))
    for _ in range(12):
        if _outside(body, cloud) < 0.015:
            break
        body = replace(body, half_width=body.half_width * 1.015, half_depth=body.half_depth * 1.015)
    return body, origin


def _outside(body: Physique, cloud: np.ndarray) -> float:
    """Share of points (N, 3) outside the inner face of the wall."""
    level = cloud[:, 2] / 150
    girth = 1 + body.waist[0] * level + body.waist[1] * level**2
    x, y = np.abs(cloud[:, 0]), np.abs(cloud[:, 1])
    rho = ((x / (body.half_width * girth)) ** 2.5 + (y / (body.half_depth * girth)) ** 2.5) ** 0.4
    depth = (1 / np.maximum(rho, 1e-3) - 1) * np.hypot(x, y)
    return float((depth < body.fat + body.wall - 1.5).mean())


def paint_transplant(canvas: Canvas, body: Physique, donor: Donor, origin: np.ndarray, *, arms: bool = False) -> None:
    """Paint a made-up body with a donor's organs into `canvas.tissues`.

    Args:
        canvas: what is painted on.
        body: build, from `fit_body`.
        donor: whose organs.
        origin: where body coordinates begin in the donor's scan, from `fit_body`.
        arms: paint the arms too.
    """
    shapes = _place_organs(canvas, donor, origin)
    abdomen = trunk.paint_frame(canvas, body, _dome_over(canvas, shapes, body), arms=arms)
    gut.paint_small_bowel(canvas, body, abdomen)
    gut.paint_colon(canvas, body, abdomen)
    gut.paint_mesentery(canvas, body)
    _paint_organs(canvas, shapes, body)
    trunk.paint_spine(canvas, body)
    organs.paint_great_vessels(canvas, body)
    _paint_pancreas(canvas, shapes)
    paint_along_pancreas(canvas)


def _place_organs(canvas: Canvas, donor: Donor, origin: np.ndarray) -> dict[str, tuple]:
    """Box and signed distance of every organ on the grid, each with a size, turn and shift of its own."""
    rng = canvas.rng
    shapes = {}
    for name, organ in donor.organs.items():
        extent = np.array(organ.distance.shape) * organ.spacing
        centre = organ.origin + extent / 2
        free = name == "pancreas"  # no organ's place and course differ more
        turn = rotation_matrix(rng.normal(0, 1, 3) * (PANCREAS_TURN if free else 5)) / np.exp(rng.normal(0, 0.12 if free else 0.09, 3))
        shift = rng.normal(0, 6.0 if free else 3.0, 3)
        for side in ("left", "right") if name == "kidney_left" else ("",):
            # The maps have the left kidney only; mirrored and a little lower it makes a right one.
            flip = -1.0 if side == "right" else 1.0
            drop = rng.uniform(4, 22) if side == "right" else 0.0
            middle = (centre - origin) * (flip, 1, 1) - (0, 0, drop)
            reach = extent / 2 * 1.25 + 12
            label = f"kidney_{side}" if side else name
            shapes[label] = placed(organ, canvas, middle, centre + shift, turn, reach, flip=flip, bend=free)
    return shapes


def placed(
    organ: Organ, canvas: Canvas, middle: np.ndarray, at: np.ndarray, turn: np.ndarray, reach: np.ndarray, *, flip: float = 1.0, bend: bool
) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Box on the grid and signed distance in it of a donor's organ.

    Args:
        organ: the organ.
        canvas: the body.
        middle: body coordinates in mm, about which the organ is turned.
        at: the donor's coordinates in mm of the point that comes there.
        turn: (3, 3), body to donor: rotation and scale.
        reach: half of the box's edges in mm.
        flip: -1 for a mirror image, left to right.
        bend: whether it is `bent` as well.
    """
    index, reach = canvas.to_grid(middle[None])[0], reach / np.array(canvas.spacing)
    box = canvas.box(index - reach, index + reach)
    offset = [f[box] - np.float32(m) for f, m in zip((canvas.x, canvas.y, canvas.z), middle, strict=True)]
    offset[0] = offset[0] * np.float32(flip)
    turned = [np.asarray(sum(np.float32(turn[a, b]) * offset[b] for b in range(3)) + np.float32(at[a])) for a in range(3)]
    return box, organ.sample(bent(turned, canvas) if bend else turned)


def _dome_over(canvas: Canvas, shapes: dict[str, tuple], body: Physique) -> np.ndarray:
    """Body z of a diaphragm on top of liver, spleen and stomach; shape (X, Y, 1)."""
    top = np.full(canvas.shape[:2], -1e3, np.float32)
    for name in ("liver", "spleen", "stomach"):
        if name not in shapes:
            continue
        box, distance = shapes[name]
        height = np.where(distance < 0, canvas.z[box], -1e3).max(2) if distance.size else None
        if height is not None:
            part = top[box[0], box[1]]
            np.maximum(part, height, out=part)
    known = (top > -900).astype(np.float32)
    if not known.any():
        return np.full((*canvas.shape[:2], 1), 120 * body.stretch, np.float32)
    sigma = 22.0 / canvas.spacing[0]
    weight = ndimage.gaussian_filter(known, sigma) + 1e-4 * known.mean()
    smooth = ndimage.gaussian_filter(np.where(known > 0, top, 0), sigma) + 1e-4 * known.mean() * float(top[known > 0].mean())
    filled = np.where(known > 0, top, smooth / weight)
    filled = np.maximum(ndimage.gaussian_filter(filled, 5.0 / canvas.spacing[0]), np.where(known > 0, top, -1e3))
    return filled[:, :, None] + 3.0


def _paint_organs(canvas: Canvas, shapes: dict[str, tuple], body: Physique) -> None:
    rng = canvas.rng
    for name in ("oesophagus", "liver", "stomach", "duodenum", "gallbladder", "spleen"):
        if name not in shapes:
            continue
        box, distance = shapes[name]
        distance = distance + 0.5 * canvas.wavy[box]
        if name in _SOLID:
            canvas.paint(box, distance < 0, _SOLID[name], over=_OVER)
        else:
            _paint_hollow(canvas, box, distance, name)
        if name == "liver":
            paint_liver_veins(canvas, box, distance)
    for side in ("left", "right"):
        box, distance = shapes[f"kidney_{side}"]
        if not distance.size:
            continue
        margin = 1.0 + 4 * body.visceral * rng.random()
        canvas.paint(
            box,
            distance < margin + 1.5 * canvas.wavy[box],
            Tissue.VISCERAL_FAT,
            over=_OVER & ~tissue_set(Tissue.LUNG, Tissue.MUSCLE, Tissue.FAT),
        )
        _paint_sinus(canvas, box, distance, 1.0 if side == "left" else -1.0)
        canvas.paint(box, distance < 0, Tissue.KIDNEY_CORTEX, over=_OVER | tissue_set(Tissue.RENAL_PELVIS, Tissue.CAVA, Tissue.AORTA))
        medulla = (distance < -5.5 + canvas.rough[box]) & (canvas.wavy[box] < 0.8)
        canvas.paint(box, medulla, Tissue.KIDNEY_MEDULLA, over=tissue_set(Tissue.KIDNEY_CORTEX))


def _paint_hollow(canvas: Canvas, box: Box, distance: np.ndarray, name: str) -> None:
    """Paint stomach or duodenum: wall, content, gas on top."""
    rng = canvas.rng
    wall = Tissue.STOMACH_WALL if name == "stomach" else Tissue.BOWEL_WALL
    canvas.paint(box, distance < 0, wall, over=_OVER)
    own = tissue_set(wall)
    content = int(rng.choice([Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST], p=(0.45, 0.4, 0.15)))
    lumen = distance < -rng.uniform(2.5, 6)
    canvas.paint(box, lumen, content, over=own)
    gas = rng.choice([0.0, 0.1, 0.3, 0.6])
    if gas > 0 and lumen.any():
        height = canvas.y[box]
        above = lumen & (height > np.quantile(height[lumen], 1 - gas))
        canvas.paint(box, above, Tissue.GAS, over=tissue_set(content))


def paint_liver_veins(canvas: Canvas, box: Box, distance: np.ndarray) -> None:
    """Paint branching veins into the liver: portal ones from below, hepatic ones from above."""
    rng = canvas.rng
    deep = np.argwhere(distance < -9)
    if len(deep) < 50:
        return
    world = np.stack([f[box][tuple(deep.T)] for f in (canvas.x, canvas.y, canvas.z)], 1)
    inner = world[:, 0] < np.quantile(world[:, 0], 0.45)
    hilum = world[inner][np.argmin(world[inner][:, 2] + 0.3 * world[inner][:, 1])] if inner.any() else world[0]
    top = world[np.argmax(world[:, 2] - 0.8 * np.abs(world[:, 0] - 20))]
    for root, tissue, count in ((hilum, Tissue.PORTAL_VEIN, 9), (top, Tissue.HEPATIC_VEIN, 7)):
        for end in world[rng.integers(0, len(world), count)]:
            middle = (root + end) / 2 + rng.normal(0, 6, 3)
            tube_box, tube = canvas.tube([(*root, 5.0), (*middle, 3.6), (*end, 1.4)])
            canvas.paint(tube_box, tube < 0, tissue, over=tissue_set(Tissue.LIVER))


def _paint_sinus(canvas: Canvas, box: Box, distance: np.ndarray, side: float) -> None:
    """Paint renal pelvis and vessels from the middle of a kidney towards the midline; the kidney is painted over them."""
    inside = distance < 0
    if inside.sum() < 50:
        return
    centre = np.array([f[box][inside].mean() for f in (canvas.x, canvas.y, canvas.z)])
    for dy, dz, radius, tissue in ((-2, -6, 4.5, Tissue.RENAL_PELVIS), (3, 4, 3.2, Tissue.CAVA), (1, 9, 2.2, Tissue.AORTA)):
        inner = centre + [side * 16, dy + 4, dz]
        points = [
            (*(centre + [0, dy, dz]), radius),
            (*inner, radius),
            (*(inner + [side * 26, 4, -6 if tissue == Tissue.RENAL_PELVIS else 2]), radius * 0.7),
        ]
        tube_box, tube = canvas.tube(points)
        canvas.paint(tube_box, tube < 0, tissue, over=SOFT)


def _paint_pancreas(canvas: Canvas, shapes: dict[str, tuple]) -> None:
    """Paint the pancreas, with a margin of fat."""
    rng = canvas.rng
    box, distance = shapes["pancreas"]
    if not distance.size:
        return
    over = _OVER | tissue_set(Tissue.CAVA, Tissue.AORTA, Tissue.RENAL_PELVIS)
    distance = distance - thickening(canvas, distance.shape)
    lobules = distance + rng.uniform(0.3, 1.0) * canvas.rough[box]
    canvas.paint(
        box,
        distance < rng.uniform(0.5, 2.5) + canvas.wavy[box],
        Tissue.VISCERAL_FAT,
        over=SOFT & ~tissue_set(Tissue.PORTAL_VEIN, Tissue.LIVER, Tissue.SPLEEN),
    )
    canvas.paint(box, lobules < 0, Tissue.PANCREAS, over=over)


def bent(points: list[np.ndarray], canvas: Canvas) -> list[np.ndarray]:
    """Coordinates (mm, three arrays of one shape on the canvas's grid) moved smoothly, by up to about 15 mm: another course of an organ."""
    rng = canvas.rng
    reach = rng.uniform(0, 7)
    return [axis + np.float32(reach) * tile_noise(axis.shape, canvas.spacing, 20.0, rng) if axis.size else axis for axis in points]


def thickening(canvas: Canvas, shape: tuple[int, ...]) -> np.ndarray:
    """By how much (mm, negative where it is thinner) a pancreas is thicker than another's: all of it, and head, body and tail apart."""
    rng = canvas.rng
    part = tile_noise(shape, canvas.spacing, 16.0, rng)
    return np.float32(rng.uniform(-1.6, 2.4)) + np.float32(rng.uniform(0.2, 1.8)) * part
