"""The hollow organs of the procedural abdomen: stomach, duodenum, small bowel, colon, bladder, with what they contain."""

# ruff: noqa: RUF005 (numpy arrays are added here, not lists joined)
from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.organs import ROOM, SOFT
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.tissues import Tissue

SMALL_BOWEL = (Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.BOWEL_WALL, Tissue.ORAL_CONTRAST)


def paint_gut(
    canvas: Canvas, points: ArrayLike, *, wall: float, content: int, gas: float, over: np.ndarray, wall_tissue: int, abdomen: np.ndarray
) -> None:
    """Paint a hollow tube: wall, content, and gas above the fluid level (a fraction of the lumen, towards the front)."""
    points = np.asarray(points, float)
    box, distance = canvas.tube(points, margin=6)
    shape = distance + 0.6 * canvas.wavy[box] + 0.5 * canvas.rough[box]
    room = abdomen[box]
    canvas.paint(box, (shape < 0) & room, wall_tissue, over=over)
    own = np.zeros(256, bool)
    own[wall_tissue] = True
    lumen = (shape < -wall) & room
    canvas.paint(box, lumen, content, over=own)
    if gas > 0 and lumen.any():
        # Gas rises: each loop has its own level, taken over a coarse window of the long axis.
        height = canvas.y[box]
        level = np.quantile(height[lumen], 1 - gas)
        own[content] = True
        canvas.paint(box, lumen & (height > level + 0.4 * canvas.wavy[box]), Tissue.GAS, over=own)


def paint_stomach(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint the stomach from the fundus to the pylorus, full or nearly empty, and the oesophagus."""
    rng = canvas.rng
    fill = rng.uniform(0.6, 1.15)
    knots = np.array([(-58, -6, 98), (-62, 8, 74), (-60, 34, 46), (-38, 58, 18), (-4, 64, 6), (22, 52, 10), (34, 42, 12)], float)
    knots[2:5, 2] += rng.normal(0, 14)
    path = body.place(knots) + rng.normal(0, 4, knots.shape)
    radius = np.array([30, 36, 31, 25, 20, 15, 8]) * fill * body.size
    radius[-1] = 9
    content = int(rng.choice([Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST], p=(0.45, 0.4, 0.15)))
    points = np.column_stack([path, radius])
    paint_gut(
        canvas,
        points,
        wall=rng.uniform(3, 6),
        content=content,
        gas=rng.choice([0.0, 0.1, 0.25, 0.5]),
        over=ROOM,
        wall_tissue=Tissue.STOMACH_WALL,
        abdomen=abdomen,
    )
    x, y = body.spine(np.array([220.0, 150, 110]))
    gullet = np.column_stack([x + (-8, -12, -22), y + (32, 34, 42), (220.0, 150, 110), (7, 7, 8)])
    box, distance = canvas.tube(gullet)
    canvas.paint(box, distance < 0, Tissue.OESOPHAGUS, over=ROOM)


def paint_duodenum(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint the C of the duodenum around the head of the pancreas, into the jejunum."""
    rng = canvas.rng
    knots = np.array([(36, 42, 12), (54, 30, 4), (56, 20, -24), (44, 14, -46), (12, 10, -50), (-22, 12, -38), (-40, 30, -24)], float)
    path = body.place(knots) + rng.normal(0, 3, knots.shape)
    radius = np.array([11, 12.5, 13, 12.5, 11, 11.5, 12]) * rng.uniform(0.85, 1.15, 7)
    content = int(rng.choice(SMALL_BOWEL, p=(0.35, 0.35, 0.2, 0.1)))
    paint_gut(
        canvas,
        np.column_stack([path, radius]),
        wall=2.6,
        content=content,
        gas=rng.choice([0, 0, 0.15]),
        over=ROOM,
        wall_tissue=Tissue.BOWEL_WALL,
        abdomen=abdomen,
    )


def paint_small_bowel(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint loops of small bowel through the middle and lower cavity: curved walks that turn at the edges of their room."""
    rng = canvas.rng
    loops = int(rng.integers(18, 34) * (1 - 0.35 * body.visceral))
    low, high = np.array([-92, 6, -165.0]), np.array([92, 74, 26.0])
    oral = rng.random() < 0.25
    for _ in range(loops):
        path = walk(rng, low, high, steps=(4, 8), length=24.0, bend=0.75, lean=(1, 0.6, 0.7))
        radius = rng.uniform(8.5, 14) * rng.uniform(0.9, 1.1, len(path))
        weights = (0.3, 0.3, 0.15, 0.25) if oral else (0.4, 0.4, 0.2, 0.0)
        content = int(rng.choice(SMALL_BOWEL, p=weights))
        points = np.column_stack([body.place(path), radius])
        gas = 0.3 if rng.random() < 0.12 else 0.0
        paint_gut(
            canvas,
            points,
            wall=rng.uniform(1.8, 3.2),
            content=content,
            gas=gas,
            over=_over_bowel(),
            wall_tissue=Tissue.BOWEL_WALL,
            abdomen=abdomen,
        )


def walk(
    rng: np.random.Generator,
    low: ArrayLike,
    high: ArrayLike,
    *,
    steps: tuple[int, int],
    length: float,
    bend: float,
    lean: ArrayLike = (1, 1, 1),
) -> np.ndarray:
    """Points (mm, (N, 3)) of a curved walk that turns back at the sides of its room.

    Args:
        rng: source of randomness.
        low, high: corners of the room.
        steps: least number of points, and one more than the largest.
        length: of a step, in mm.
        bend: how much each step's heading differs from the last (sd, the heading being of length 1).
        lean: how much the first heading prefers each axis.
    """
    low, high = np.asarray(low), np.asarray(high)
    position = rng.uniform(low, high)
    heading: np.ndarray = rng.standard_normal(3) * np.asarray(lean, float)
    path = []
    for _ in range(int(rng.integers(*steps))):
        heading = heading / np.linalg.norm(heading) + rng.normal(0, bend, 3)
        step = length * heading / np.linalg.norm(heading)
        step = np.where((position + step < low) | (position + step > high), -step, step)
        position, heading = position + step, step
        path.append(position)
    return np.array(path)


def _over_bowel() -> np.ndarray:
    over = ROOM.copy()
    over[[Tissue.BOWEL_WALL, *SMALL_BOWEL, Tissue.GAS]] = True
    return over


def paint_mesentery(canvas: Canvas, body: Physique) -> None:
    """Paint the small vessels and nodes that dot the fat of the mesentery."""
    rng = canvas.rng
    root = body.place([10, 22, -15])
    for _ in range(36):
        end = body.place(rng.uniform((-80, 20, -140), (85, 70, 20)))
        middle = (root + end) / 2 + rng.normal(0, 10, 3)
        tissue = Tissue.PORTAL_VEIN if rng.random() < 0.55 else Tissue.AORTA
        box, distance = canvas.tube(np.array([(*root, 2.4), (*middle, 2.0), (*end, 1.2)]))
        canvas.paint(box, distance < 0, tissue, over=ROOM)


def paint_colon(canvas: Canvas, body: Physique, abdomen: np.ndarray) -> None:
    """Paint the frame of the colon with its haustra, holding faeces and gas, and the bladder where it is reached."""
    rng = canvas.rng
    drop = rng.uniform(-35, 15)
    calibre = rng.uniform(17, 25) * body.size
    ascending = [(88, -2, -125), (94, -8, -90), (96, -8, -50), (94, 0, -15), (86, 20, 0)]
    transverse = [(86, 22, 0), (62, 62, -12 + 0.5 * drop), (20, 76, -14 + drop), (-25, 76, -4 + drop), (-70, 50, 22), (-94, 6, 46)]
    descending = [(-94, 4, 46), (-103, -16, 20), (-104, -18, -25), (-103, -14, -70), (-96, 0, -110), (-60, 10, -150), (-20, -10, -170)]
    for part, factor in ((ascending, 1.15), (transverse, 1.0), (descending, 0.75)):
        path = body.place(np.array(part, float) + rng.normal(0, 4, (len(part), 3)))
        dense = np.repeat(path, 2, axis=0)[:-1]
        dense[1::2] = (path[:-1] + path[1:]) / 2
        radius = calibre * factor * rng.uniform(0.75, 1.1, len(dense))
        content = int(rng.choice([Tissue.FAECES, Tissue.SOFT_CONTENT, Tissue.WATERY_CONTENT], p=(0.7, 0.2, 0.1)))
        gas = float(rng.choice([0.1, 0.35, 0.6, 0.8]))
        points = np.column_stack([dense, radius])
        paint_gut(
            canvas,
            points,
            wall=rng.uniform(2, 3.2),
            content=content,
            gas=gas,
            over=_over_bowel(),
            wall_tissue=Tissue.BOWEL_WALL,
            abdomen=abdomen,
        )
    box, distance = canvas.ellipsoid(body.place([0, 30, -205]), np.array([40, 32, 30]) * rng.uniform(0.7, 1.2))
    canvas.paint(box, (distance < 0) & abdomen[box], Tissue.BLADDER, over=SOFT)
