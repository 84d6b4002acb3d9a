"""Surfaces and their distances, against binary erosion and distance maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from bundle.metrics import surface, surface_distances, surface_points


@pytest.mark.parametrize("slab", [1, 60, 2**23])
def test_surface_is_what_erosion_takes_away(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the slabs: one slice, a few, all."""
    monkeypatch.setattr(surface, "SLAB_VOXELS", slab)
    mask = np.random.default_rng(0).random((9, 6, 5)) > 0.25
    mask[:, 1:5, 1:4] = True  # some inner voxels
    expected = np.argwhere(mask & ~binary_erosion(mask))
    assert 0 < len(expected) < mask.sum()
    np.testing.assert_array_equal(surface_points(mask), expected)


def test_full_cube_has_its_surface_on_the_border() -> None:
    assert len(surface_points(np.ones((4, 4, 4), bool))) == 64 - 8


def test_distances_are_those_of_a_distance_map() -> None:
    random = np.random.default_rng(1)
    first, second = random.random((2, 12, 10, 8)) > 0.9
    spacing = (0.8, 1.0, 4.0)
    there, back = surface_distances(first, second, spacing)
    edges = [mask & ~binary_erosion(mask) for mask in (first, second)]
    np.testing.assert_allclose(there, distance_transform_edt(~edges[1], sampling=spacing)[edges[0]])
    np.testing.assert_allclose(back, distance_transform_edt(~edges[0], sampling=spacing)[edges[1]])


def test_empty_mask_is_an_error() -> None:
    with pytest.raises(ValueError, match="not empty"):
        surface_distances(np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1, 1, 1))
