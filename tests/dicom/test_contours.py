"""Polygons around the voxels of a mask."""

from __future__ import annotations

import dicom_objects as made
import numpy as np
import pytest

from bundle.dicom.contours import polygons


@pytest.mark.parametrize("seed", range(4))
def test_polygons_hold_the_centres_of_a_mask_and_no_others(seed: int) -> None:
    """Noise has holes in islands in holes, and pixels that touch at corners."""
    mask = np.random.default_rng(seed).random((30, 20)) < 0.6
    columns, rows = np.meshgrid(np.arange(20), np.arange(30))
    centres, found = np.stack([columns.ravel(), rows.ravel()], 1), np.zeros(mask.size, bool)
    for corners in polygons(mask):
        inside = made.Outline(corners).contains_points(centres)
        assert not (found & inside).any(), "pieces do not overlap, so that it does not matter whether readers add or exclude"
        found |= inside
    assert np.array_equal(found.reshape(mask.shape), mask) and polygons(np.zeros((3, 3), bool)) == []


def test_one_pixel_is_a_diamond_half_way_to_its_neighbours() -> None:
    mask = np.zeros((5, 6), bool)
    mask[2, 3] = True
    (corners,) = polygons(mask)
    # column and row
    assert {tuple(corner) for corner in corners.tolist()} == {(2.5, 2.0), (3.5, 2.0), (3.0, 1.5), (3.0, 2.5)} and len(corners) == 4


def test_a_row_has_no_corner_where_it_goes_straight_on_and_a_hole_is_cut_into_its_ring() -> None:
    row = np.zeros((4, 9), bool)
    row[1, 2:7] = True
    (corners,) = polygons(row)
    assert {tuple(corner) for corner in corners.tolist()} == {(1.5, 1), (2, 0.5), (6, 0.5), (6.5, 1), (6, 1.5), (2, 1.5)}
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    (corners,) = polygons(ring)
    # 8 corners outside and 4 of the hole, and the two ends of the cut once more
    assert len(corners) == 14 and len(np.unique(corners, axis=0)) == 12
    assert {(0.5, 1.0), (1.5, 1.0), (1.0, 0.5), (1.0, 1.5)} <= {tuple(corner) for corner in corners.tolist()}
