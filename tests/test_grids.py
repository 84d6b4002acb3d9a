"""Grids: values worked out by hand, and by nibabel for order of axes."""

from itertools import permutations

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bundle import grids

# 2 x 3 x 4 mm, turned by 90 degrees about z: voxels go along y, then backwards along x
AFFINE = np.array([[0, -3, 0, 10], [2, 0, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1.0]])
SHAPE = (5, 6, 7)


def test_spacing_and_volume():
    assert np.allclose(grids.spacing(AFFINE), [2, 3, 4])
    assert grids.voxel_ml(AFFINE) == pytest.approx(0.024)
    tilted = np.array([[1, 0, 0, 0], [0, 1, 3, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]])  # steps of 5 mm, slices 4 mm apart
    assert np.allclose(grids.spacing(tilted), [1, 1, 5]) and grids.voxel_ml(tilted) == pytest.approx(0.004)


def test_right_angles_by_named_tolerances():
    assert grids.shear(AFFINE) == 0
    for degrees, qform, network in ((0.005, True, True), (0.03, False, True), (0.3, False, False)):
        angle = np.radians(degrees)
        sheared = np.diag([1.0, 1, 1, 1])
        sheared[:3, 1] = [np.sin(angle), np.cos(angle), 0]
        assert grids.shear(sheared) == pytest.approx(np.sin(angle))
        assert grids.has_right_angles(sheared) is qform
        assert grids.has_right_angles(sheared, grids.SHEAR_TOLERANCE) is network


def test_the_gap_between_two_grids_is_that_of_their_farthest_voxels():
    moved = AFFINE.copy()
    moved[:3, 3] += [3, 4, 0]
    assert grids.corner_gap(AFFINE, moved, SHAPE) == pytest.approx(5)
    wider = AFFINE.copy()
    wider[2, 2] = 4.1
    assert grids.corner_gap(AFFINE, wider, SHAPE) == pytest.approx(0.6)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA", "ARI"])
def test_the_same_voxels_in_another_order_of_axes(codes):
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    image = nibabel.Nifti1Image(array.astype(np.int32), AFFINE)
    change = nibabel.orientations.ornt_transform(nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(change)
    axes = grids.axes_onto(turned.shape, turned.affine, SHAPE, AFFINE)
    assert np.array_equal(grids.reorder(np.asarray(turned.dataobj), axes), array)
    assert grids.same_grid(turned.shape, turned.affine, SHAPE, AFFINE) is (turned.shape == SHAPE and np.allclose(turned.affine, AFFINE))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_turned_as_nibabel_turns_it(codes):
    oblique = AFFINE.copy()
    oblique[:3, :3] = AFFINE[:3, :3] @ Rotation.from_euler("xyz", (9, -5, 12), degrees=True).as_matrix()
    array = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)
    change = nibabel.orientations.ornt_transform(nibabel.io_orientation(oblique), nibabel.orientations.axcodes2ornt(codes))
    expected = nibabel.Nifti1Image(array, oblique).as_reoriented(change)
    turned, affine = grids.turned(array, oblique, codes)
    assert np.array_equal(turned, expected.dataobj) and np.shares_memory(turned, array)
    assert np.allclose(affine, expected.affine, atol=1e-12)


def test_the_places_of_turned_voxels_by_hand():
    # the first axis leads to the front, the second to the left: what is stored as (i, j) is found as (5 - j, i)
    array = np.zeros(SHAPE)
    array[1, 0, 2] = 1
    assert grids.axes_towards(AFFINE) == [(1, -1), (0, 1), (2, 1)]
    turned, affine = grids.turned(array, AFFINE)
    assert np.argwhere(turned).tolist() == [[5, 1, 2]]
    assert (affine @ [5, 1, 2, 1]).tolist() == (AFFINE @ [1, 0, 2, 1]).tolist() == [10, 22, 38, 1]


def test_an_axis_without_a_direction_cannot_be_turned():
    flat = np.diag([2.0, 0.0, 4.0, 1.0])
    assert grids.axes_towards(flat) is None
    with pytest.raises(ValueError, match="no direction"):
        grids.turned(np.zeros(SHAPE), flat)


def test_other_grids_are_none():
    moved, larger = AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.2  # of 3 mm: more than 0.05 voxels
    larger[:3, 0] *= 1.02  # 0.08 voxels at the far end
    assert grids.axes_onto(SHAPE, moved, SHAPE, AFFINE) is None and grids.axes_onto(SHAPE, larger, SHAPE, AFFINE) is None
    assert grids.axes_onto((5, 6, 8), AFFINE, SHAPE, AFFINE) is None
    assert grids.axes_onto(SHAPE, np.zeros((4, 4)), SHAPE, AFFINE) is None
    nearly = AFFINE.copy()
    nearly[0, 3] += 0.1
    assert grids.same_grid(SHAPE, nearly, SHAPE, AFFINE)


def test_box_of_a_mask():
    mask = np.zeros((10, 9, 8), dtype=bool)
    assert grids.box(mask) is None
    mask[2, 3, 4] = mask[5, 8, 4] = True
    assert grids.box(mask) == (slice(2, 6), slice(3, 9), slice(4, 5))
    assert grids.box(mask, 1) == (slice(1, 7), slice(2, 9), slice(3, 6))
    assert grids.box(mask.astype(np.int16) * 300, (0, 4, 0)) == (slice(2, 6), slice(0, 9), slice(4, 5))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_box_is_the_same_in_any_order_of_memory(order):
    where = np.array([[1, 5, 2], [6, 2, 2], [3, 3, 7]])
    mask = np.zeros([(8, 9, 10)[axis] for axis in order], dtype=bool).transpose(np.argsort(order))
    mask[tuple(where.T)] = True
    assert grids.box(mask) == (slice(1, 7), slice(2, 6), slice(2, 8))
    assert grids.box(mask[::-1, :, ::-1]) == (slice(1, 7), slice(2, 6), slice(2, 8))


def test_a_box_at_the_border():
    inner = (slice(1, 4), slice(1, 5), slice(1, 6))
    assert not grids.at_border(inner, SHAPE)
    assert grids.at_border((slice(0, 4), *inner[1:]), SHAPE) and grids.at_border((*inner[:2], slice(1, 7)), SHAPE)


def test_a_grid_in_words():
    assert grids.describe(SHAPE, AFFINE) == "5x6x7 voxels of 2x3x4 mm, ALS, origin (10.0, 20.0, 30.0)"
