"""How one training scan is made, from each kind of anatomy: draw a patient, a pose, a field of view, a scanner."""

from __future__ import annotations

import numpy as np

from bundle.data.synthetic.anatomy import paint_abdomen
from bundle.data.synthetic.canvas import Canvas, rotation_matrix
from bundle.data.synthetic.clutter import crowd, infiltrate, paint_clutter
from bundle.data.synthetic.contrast import RealScan, vary
from bundle.data.synthetic.donors import Donor
from bundle.data.synthetic.patient import paint_table
from bundle.data.synthetic.people import Person, paint_person
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.scanner import Scan, add_noise, expose, resample
from bundle.data.synthetic.tissues import LABEL_OF, Tissue, draw_means, render
from bundle.data.synthetic.transplant import fit_body, paint_transplant
from bundle.data.synthetic.viscera import paint_bowel, paint_vessels, shape_pancreas

Spacing = tuple[float, float, float]


def from_donor(donor: Donor, rng: np.random.Generator, spacing: Spacing, phase: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Image (HU) and labels of a donor's organs in a made-up body; `phase` as in `draw_means`."""
    body, origin = fit_body(donor, rng)
    arms = rng.random() < 0.12
    canvas = _canvas(body, rng, spacing, top=float(donor.top - origin[2]) - 4, arms=arms)
    paint_transplant(canvas, body, donor, origin, arms=arms)
    paint_clutter(canvas, body, float(rng.uniform(0.2, 1.6)))
    return _scan(canvas, rng, phase, lean=_made_lean(canvas, rng))


def from_person(
    person: Person, rng: np.random.Generator, spacing: Spacing, donor: Donor | None = None, *, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Image (HU) and labels of a body from a label map; with a donor, that person's pancreas takes the place of its own.

    The field of view is that of an abdominal scan; with `whole`, all of the body that the map has.
    """
    ends = person.extent[0] + 6, person.extent[1] - 6
    low, high = _levels(rng, *ends)
    if whole:
        low, high = ends
    reach = np.quantile(person.outline, 0.98)
    half = np.array([reach * 1.05 + rng.uniform(15, 45), reach * 0.8 + rng.uniform(10, 40)])
    canvas = _around(half, low, high, rng, spacing)
    paint_person(canvas, person)
    paint_bowel(canvas)
    shape_pancreas(canvas, person, donor)
    paint_vessels(canvas, person)
    return _scan(canvas, rng, lean=_made_lean(canvas, rng))


def from_nothing(rng: np.random.Generator, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Image (HU) and labels of a wholly made-up body."""
    body = Physique.draw(rng)
    arms = rng.random() < 0.12
    canvas = _canvas(body, rng, spacing, top=1e3, arms=arms)
    paint_abdomen(canvas, body, arms=arms)
    paint_clutter(canvas, body, float(rng.uniform(0.2, 1.6)))
    return _scan(canvas, rng)


def from_levels(
    rng: np.random.Generator, spacing: Spacing, low: float, high: float, phase: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image (HU) and labels of a made-up body between two levels (mm, 0 is the second lumbar vertebra); `phase` as in `draw_means`."""
    body = Physique.draw(rng)
    half = np.array([body.half_width * 1.06 + rng.uniform(2, 20), body.half_depth * 1.06 + rng.uniform(4, 18)])
    canvas = _around(half, low, high, rng, spacing)
    paint_abdomen(canvas, body)
    return _scan(canvas, rng, phase)


def from_real(scan: RealScan, rng: np.random.Generator, spacing: Spacing) -> tuple[np.ndarray, np.ndarray]:
    """Image (HU) and labels of a real scan, bent, cut and given another contrast."""
    extent = np.array(scan.image.shape) * scan.spacing
    bottom = rng.uniform(0, 0.45) * extent[2]
    shape = tuple(round(e / s) for e, s in zip((extent[0] * 1.04, extent[1] * 1.04, extent[2] - bottom), spacing, strict=True))
    low = -np.array([extent[0] * 0.52, extent[1] * 0.52, extent[2] / 2 - bottom])
    canvas = Canvas(shape, spacing, origin=low, rotation=_pose(rng), displacement_mm=float(rng.uniform(2, 6)), rng=rng)
    image, labels = vary(scan, canvas, rng)
    image += rng.uniform(-8, 8)
    protocol = Scan.draw(rng, spacing)
    return add_noise(image, Scan(spacing, protocol.thickness, 0.3, protocol.noise * rng.uniform(0.1, 0.9), protocol.grain), rng), labels


def _pose(rng: np.random.Generator) -> np.ndarray:
    """Patient to body: a small turn, and a size that may differ by direction."""
    scale = np.exp(rng.normal(0, 0.06) + rng.normal(0, 0.04, 3))
    return rotation_matrix(rng.normal(0, 1, 3) * (3.5, 3.0, 4.5)) @ np.diag(scale)


def _canvas(body: Physique, rng: np.random.Generator, spacing: Spacing, *, top: float, arms: bool) -> Canvas:
    """A canvas around a made-up body."""
    low, high = _levels(rng, -1e3, top)
    half = np.array([body.half_width * 1.06 + (85 if arms else rng.uniform(2, 20)), body.half_depth * 1.06 + rng.uniform(4, 18)])
    if rng.random() < 0.1:
        half[0] = body.half_width - rng.uniform(0, 15)
    return _around(half, low, high, rng, spacing)


def _levels(rng: np.random.Generator, bottom: float, top: float) -> tuple[float, float]:
    """Lowest and highest z of a field of view: from the chest to the pelvis, or more, or less down to a slab of a few centimetres."""
    chest = rng.random() < 0.25
    high, low = min(top, rng.uniform(190, 280) if chest else rng.uniform(110, 190)), rng.uniform(-170, -75)
    cut = rng.random()
    if cut < 0.06:
        low = rng.uniform(-40, min(high, 90) - 40)
        high = low + rng.uniform(36, 90)
    elif cut < 0.12:
        high = min(high, rng.uniform(55, 100))
    elif cut < 0.24:
        low = rng.uniform(-40, 0)
    return max(low, bottom), high


def _around(half: np.ndarray, low: float, high: float, rng: np.random.Generator, spacing: Spacing) -> Canvas:
    x, y, z = (max(24, int(e / s)) for e, s in zip((2 * half[0], 2 * half[1], high - low), spacing, strict=True))
    origin = np.array([-half[0], -half[1] - 4, low])
    return Canvas((x, y, z), spacing, origin=origin, rotation=_pose(rng), displacement_mm=float(rng.uniform(2, 9)), rng=rng)


def _made_lean(canvas: Canvas, rng: np.random.Generator) -> bool:
    """Whether the body is a lean one, whose organs lie close together: seven in ten are, three of them with next to no fat."""
    kind = rng.random()
    if kind >= 0.7:
        return False
    if kind < 0.3:
        crowd(canvas, float(rng.uniform(18, 45)), float(rng.choice([0.0, 0.1])))
    else:
        crowd(canvas, float(rng.uniform(3, 18)), float(rng.choice([0.0, 0.2, 0.5])))
    return True


def _scan(canvas: Canvas, rng: np.random.Generator, phase: float | None = None, *, lean: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Render what is painted; thick slices are made as such and interpolated back, as preprocessing does."""
    labels = LABEL_OF[canvas.tissues]
    if rng.random() < (0.15 if lean else 0.5):
        infiltrate(canvas, float(rng.uniform(0.05, 0.45)))
    if rng.random() < 0.6:
        paint_table(canvas.tissues, canvas.spacing, rng)
    means = draw_means(rng, phase, spread=float(rng.uniform(0.8, 1.7)))
    if lean:  # a young pancreas has no fat and takes up more contrast
        means[Tissue.PANCREAS] += rng.uniform(0, 40)
    if rng.random() < 0.5:
        # collapsed bowel as grey as the pancreas: only its shape and place show it
        for wall in (Tissue.BOWEL_WALL, Tissue.DUODENUM_WALL, Tissue.STOMACH_WALL):
            means[wall] = means[Tissue.PANCREAS] + rng.normal(0, 8)
    if rng.random() < 0.35:  # and what fills it, as in scans without contrast
        means[Tissue.SOFT_CONTENT] = means[Tissue.PANCREAS] + rng.normal(0, 8)
    image = render(canvas.tissues, canvas.spacing, means, rng)
    slices = float(rng.choice([1.0, 2.0, 2.5, 3.0, 5.0], p=(0.25, 0.2, 0.2, 0.15, 0.2)))
    grid = (*canvas.spacing[:2], max(slices, canvas.spacing[2]))
    shape = (*canvas.shape[:2], max(8, round(canvas.shape[2] * canvas.spacing[2] / grid[2])))
    protocol = Scan.draw(rng, (*canvas.spacing[:2], slices))
    protocol = Scan(
        grid, max(protocol.thickness, grid[2] * 0.8), protocol.blur, protocol.noise * float(rng.uniform(0.5, 1.3)), protocol.grain
    )
    image = add_noise(expose(image, canvas.spacing, protocol, shape), protocol, rng)
    image = resample(image, grid, canvas.spacing, canvas.shape)
    return image, labels
