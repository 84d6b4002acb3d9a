"""A picture of a prediction against its reference with the misses marked, for training and for papers (figure 3b)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bundle.drawing.drawing import Colour, blend, cover, grey, grey_window, legend, outline, save
from bundle.drawing.layout import WIDTH, row, sheet
from bundle.drawing.planes import PLANES, Views, Window
from bundle.quality.measure import Structure, measure_structures
from bundle.structures import colours

# orange-red and blue: distinct for the colour-blind, and no structure's colour among the first ones
MISSED: Colour = (255, 72, 40)
ADDED: Colour = (64, 140, 255)
MAX_HEIGHT = 380


def comparison(
    image: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    structures: Mapping[str, int],
    path: str | os.PathLike,
    *,
    title: str = "prediction against reference",
    focus: str | None = None,
) -> Path:
    """Write `comparison_picture` as a PNG, whole or not at all: see there for arguments, shapes and errors."""
    return save(comparison_picture(image, prediction, reference, affine, structures, title=title, focus=focus), path)


def comparison_picture(
    image: np.ndarray,
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    structures: Mapping[str, int],
    *,
    title: str = "prediction against reference",
    focus: str | None = None,
) -> Image.Image:
    """The reference's contours in three planes, below them the prediction's, with missed voxels red and added ones blue.

    Args:
        image: (X, Y, Z), HU or normalised.
        prediction, reference: (X, Y, Z) whole numbers on the same grid.
        affine: (4, 4), from voxel indices to RAS+ millimetres.
        structures: name to value in both label maps.
        title: heading.
        focus: a structure to look at from near; by default all of them, in the whole section of the body.

    Raises:
        ValueError: shapes differ, or `focus` is not a structure.
    """
    if not image.shape == prediction.shape == reference.shape:
        raise ValueError(f"shapes differ: image {image.shape}, prediction {prediction.shape}, reference {reference.shape}")
    named = {name: int(value) for name, value in structures.items() if int(value) != 0}
    if focus is not None and focus not in named:
        raise ValueError(f"'{focus}' is none of the structures {list(named)}")
    shades, views = colours(list(named)), Views(affine, reference.shape)
    expected = measure_structures(reference, affine, named)
    predicted = measure_structures(prediction, affine, named)
    windows = _windows(views, image, expected, predicted, focus)
    span = grey_window(image)

    def contours(window: Window, size: tuple[int, int], labels: np.ndarray) -> np.ndarray:
        picture = grey(views.picture(image, window), size, span)
        shown = views.picture(labels, window)
        for name, value in named.items():
            outline(picture, cover(shown == value, size), shades[name])
        return picture

    def above(window: Window, size: tuple[int, int]) -> np.ndarray:
        return contours(window, size, reference)

    def below(window: Window, size: tuple[int, int]) -> np.ndarray:
        picture = contours(window, size, prediction)
        found, wanted = views.picture(prediction, window), views.picture(reference, window)
        missed, added = np.zeros(found.shape, bool), np.zeros(found.shape, bool)
        for value in named.values():
            missed |= (wanted == value) & (found != value)
            added |= (found == value) & (wanted != value)
        # a voxel of the wrong structure is both: red, and the prediction's contour around it shows the rest
        for wrong, shade in ((added & ~missed, ADDED), (missed, MISSED)):
            blend(picture, 0.75 * (cover(wrong, size) >= 0.5), shade)
        return picture

    dice = {name: _dice(prediction, reference, value, predicted[name], expected[name]) for name, value in named.items()}
    entries = [(shades[name], f"{name} {_words(dice[name])}") for name in named]
    strips = [
        row(windows, above, max_height=MAX_HEIGHT, captions=False, name="reference"),
        row(windows, below, max_height=MAX_HEIGHT, name="prediction"),
        legend([*entries, (MISSED, "missed"), (ADDED, "added")], WIDTH),
    ]
    return sheet(strips, title=title)


def _windows(
    views: Views, image: np.ndarray, expected: Mapping[str, Structure], predicted: Mapping[str, Structure], focus: str | None
) -> Sequence[Window]:
    names = [focus] if focus else list(expected)
    # through the reference; where it is empty, through what was predicted there
    chosen = [s for s in (expected[n] if expected[n].volume_ml else predicted[n] for n in names) if s.volume_ml]
    centre = views.centre(chosen)
    if not focus or not chosen:
        return [views.body(image, plane, centre) for plane in PLANES]
    both = [s for s in (expected[focus], predicted[focus]) if s.volume_ml]
    return [views.around(plane, centre, both) for plane in PLANES]


def _dice(prediction: np.ndarray, reference: np.ndarray, value: int, one: Structure, two: Structure) -> float | None:
    """Dice of one structure; None where neither map has it."""
    if not one.volume_ml and not two.volume_ml:
        return None
    if not one.volume_ml or not two.volume_ml:
        return 0.0
    box = tuple(slice(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one.bounds, two.bounds, strict=True))
    first, second = prediction[box] == value, reference[box] == value
    return 2.0 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def _words(dice: float | None) -> str:
    return "in neither" if dice is None else f"Dice {dice:.3f}"
