"""Labels and values on another grid against scipy's linear interpolation, and cells by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from bundle.transforms import interpolated_argmax
from bundle.transforms.interpolated_argmax import MIXED, Axis, InterpolatedArgmax, agreeing_cells, interpolated

# upright with another spacing and a shift beyond the border; turned by 20 degrees
UPRIGHT = np.array([[0.6, 0, 0, -1.0], [0, 0.8, 0, 0.25], [0, 0, 1.3, 0.5], [0, 0, 0, 1]])
TURNED = UPRIGHT.copy()
TURNED[:2, :2] = [[0.7 * np.cos(0.35), -0.7 * np.sin(0.35)], [0.7 * np.sin(0.35), 0.7 * np.cos(0.35)]]
SHAPE = (14, 11, 6)


def expected(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Values (X, Y, Z) at the points of the wanted grid, those of the border beyond it."""
    points = np.einsum("ij,j...->i...", matrix[:3, :3], np.indices(SHAPE)) + matrix[:3, 3].reshape(3, 1, 1, 1)
    return ndimage.map_coordinates(values, points, order=1, mode="nearest")


def gathered(slabs, dtype) -> np.ndarray:
    whole = np.full(SHAPE, 99, dtype)
    for axis, (where, part) in slabs:
        whole[tuple(where if own == axis else slice(None) for own in range(3))] = part
    return whole


@pytest.mark.parametrize("matrix", [UPRIGHT, TURNED], ids=["upright", "turned"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("smooth", [0.0, 2.0])
def test_labels_are_those_of_the_interpolated_logits(matrix, axis, smooth):
    noise = np.random.default_rng(0).normal(size=(4, 9, 8, 7)).astype(np.float32)
    logits = ndimage.gaussian_filter(noise, (0, smooth, smooth, smooth)) if smooth else noise
    wanted = np.argmax([expected(channel, matrix) for channel in logits], axis=0)
    found = InterpolatedArgmax(torch.from_numpy(logits), matrix, SHAPE, slab_axis=axis)
    assert np.array_equal(gathered(((axis, slab) for slab in found.slabs()), np.uint8), wanted)
    half = gathered(((axis, slab) for slab in (*found.slabs(0, 3), *found.slabs(3))), np.uint8)
    assert np.array_equal(half, wanted), "slabs in any order"


@pytest.mark.parametrize("matrix", [UPRIGHT, TURNED], ids=["upright", "turned"])
@pytest.mark.parametrize("axis", [0, 2])
def test_values_are_interpolated(matrix, axis, monkeypatch):
    monkeypatch.setattr(interpolated_argmax, "CHUNK", 100)  # several pieces
    values = np.random.default_rng(1).normal(size=(9, 8, 7)).astype(np.float32)
    found = gathered(((axis, slab) for slab in interpolated(torch.from_numpy(values), matrix, SHAPE, slab_axis=axis)), np.float32)
    assert np.allclose(found, expected(values, matrix), atol=1e-5)


def test_cells_whose_corners_agree_by_hand():
    labels = torch.tensor([[1, 1, 2], [1, 1, 2]], dtype=torch.uint8).reshape(2, 3, 1)
    # between the voxels 1 and 2 of the second axis the corners differ; the last cell has the last voxel on both sides
    assert agreeing_cells(labels)[..., 0].tolist() == [[1, MIXED, 2], [1, MIXED, 2]]
    labels[1, 0, 0] = 3
    assert agreeing_cells(labels)[..., 0].tolist() == [[MIXED, MIXED, 2], [MIXED, MIXED, 2]]


def test_points_of_an_axis_by_hand():
    axis = Axis.at(np.array([-1.0, 0.25, 2.0, 5.0]), 3)
    values = torch.tensor([10.0, 20.0, 40.0])
    assert axis.blend(values, 0).tolist() == (values @ axis.matrix(3)).tolist() == [10.0, 12.5, 40.0, 40.0]


def test_the_first_of_equal_classes_wins():
    (_, labels), *_ = InterpolatedArgmax(torch.zeros(3, 2, 2, 1), np.eye(4), (2, 2, 1)).slabs()
    assert not labels.any()
