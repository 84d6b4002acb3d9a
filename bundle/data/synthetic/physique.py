"""One patient's build: the numbers that size the body, and the frame in which the organs are placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Physique:
    """Sizes of one body in mm; z = 0 is the level of the second lumbar vertebra.

    Attributes:
        half_width, half_depth: half-axes of the trunk at z = 0.
        waist: relative change of the half-axes per 150 mm towards the head, and its curvature.
        fat: thickness of the subcutaneous fat at the flank.
        belly: extra fat in front, as a factor.
        wall: thickness of the muscular wall.
        vertebra_y: y of the centre of the vertebral bodies.
        lordosis, scoliosis: bend of the spine forwards and sideways.
        stretch: length of the trunk relative to the average.
        visceral: how much fat is between the organs (0 none, 1 much): it spaces them.
    """

    half_width: float
    half_depth: float
    waist: tuple[float, float]
    fat: float
    belly: float
    wall: float
    vertebra_y: float
    lordosis: float
    scoliosis: float
    stretch: float
    visceral: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Physique:
        """A random build, from slim to obese."""
        obesity = rng.beta(2, 3)
        half_width = 132 + 58 * obesity + rng.normal(0, 7)
        fat = 7 + 30 * obesity * rng.uniform(0.5, 1.3)
        half_depth = half_width * (0.64 + 0.1 * obesity + rng.normal(0, 0.025))
        return Physique(
            half_width=half_width,
            half_depth=half_depth,
            waist=(rng.uniform(-0.02, 0.06), rng.uniform(0.0, 0.09)),
            fat=fat,
            belly=rng.uniform(0.6, 1.4),
            wall=rng.uniform(9, 15),
            vertebra_y=-half_depth + fat * 0.8 + rng.uniform(60, 70),
            lordosis=rng.uniform(2, 12),
            scoliosis=rng.normal(0, 3),
            stretch=rng.uniform(0.9, 1.12),
            visceral=float(np.clip(obesity + rng.normal(0, 0.2), 0, 1)),
        )

    def spine(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of the centre of the spine at heights z."""
        bend = np.cos((np.asarray(z) + 40) / 95)
        return self.scoliosis * np.sin(np.asarray(z) / 70), self.vertebra_y + self.lordosis * (bend - 0.6)

    def place(self, points: ArrayLike) -> np.ndarray:
        """Body coordinates (N, 3 or more) of points given for the average body: x scaled to the cavity, y between spine and front wall."""
        points = np.array(points, float)
        inner = self.half_width - self.fat - self.wall
        front = self.half_depth - self.fat * self.belly - self.wall
        out = points.copy()
        out[..., 0] = points[..., 0] * inner / 130
        out[..., 1] = self.vertebra_y + (points[..., 1] + 30) * (front - self.vertebra_y) / 112
        out[..., 2] = points[..., 2] * self.stretch
        return out

    @property
    def size(self) -> float:
        """Size of the cavity relative to the average: organs grow a little with it."""
        return float(((self.half_width - self.fat - self.wall) / 130 * self.stretch) ** 0.35)
