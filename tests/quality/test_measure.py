"""Measurements of structures against counts by hand and against plain numpy over the whole volume."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.quality.measure import amount, measure_structures


def test_agrees_with_plain_numpy_on_random_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (7, 9, 11)).astype(np.uint8)
    image = rng.normal(size=labels.shape).astype(np.float32)
    affine = np.array([[0.0, -2, 0, 5], [1.5, 0, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]])
    for order in "CF":
        measured = measure_structures(np.asarray(labels, order=order), affine, {"background": 0, "a": 1, "c": 3}, image=image)
        assert list(measured) == ["a", "c"]
        for name, value in (("a", 1), ("c", 3)):
            where = np.argwhere(labels == value)
            one = measured[name]
            assert one.volume_ml == pytest.approx(len(where) * 9.0 / 1000)
            assert one.centroid_mm == pytest.approx(affine[:3, :3] @ where.mean(0) + affine[:3, 3])
            assert one.mean_hu == pytest.approx(image[labels == value].mean(), abs=1e-6)
            assert one.sd_hu == pytest.approx(image[labels == value].std(), abs=1e-6)
            for axis in range(3):
                start, stop = one.bounds[axis]
                assert (start, stop) == (where[:, axis].min(), where[:, axis].max() + 1)
                assert one.profiles[axis].tolist() == np.bincount(where[:, axis])[start:].tolist()


def test_structures_far_from_the_border_are_where_they_are():
    labels = np.zeros((9, 8, 7), dtype=np.uint8)
    labels[3:5, 2, 4:6] = 2
    labels[6, 5, 1] = 3
    for order in "CF":
        found = measure_structures(np.asarray(labels, order=order), np.eye(4), {"a": 1, "b": 2, "c": 3, "d": 4})
        assert found["a"].volume_ml == found["d"].volume_ml == 0 and not found["d"].bounds
        assert found["b"].bounds == ((3, 5), (2, 3), (4, 6)) and found["c"].bounds == ((6, 7), (5, 6), (1, 2))
        assert found["b"].centroid_mm == (3.5, 2, 4.5) and not found["b"].touches_border


def test_pieces_touching_at_a_corner_are_one_and_are_sorted_by_size():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = 1
    labels[5:7, 5:7, 5:7] = 1
    one = measure_structures(labels, np.diag([10.0, 10.0, 10.0, 1.0]), {"a": 1})["a"]
    assert one.components == 2
    assert one.piece_ml == pytest.approx((8.0, 2.0))
    assert one.touches_border is False


@pytest.mark.parametrize("index", [(0, 3, 3), (3, 7, 3), (3, 3, 7)])
def test_a_voxel_on_any_face_touches_the_border(index):
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[index] = 1
    assert measure_structures(labels, np.eye(4), {"a": 1})["a"].touches_border is True


def test_nan_does_not_reach_the_mean():
    labels = np.ones((4, 4, 4), np.uint8)
    image = np.full(labels.shape, 30.0)
    image[0] = np.nan
    assert measure_structures(labels, np.eye(4), {"a": 1}, image=image)["a"].mean_hu == 30.0


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="different shapes"):
        measure_structures(np.zeros((2, 2, 2), np.uint8), np.eye(4), {"a": 1}, image=np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="X, Y, Z"):
        measure_structures(np.zeros((1, 2, 2, 2), np.uint8), np.eye(4), {"a": 1})


def test_amounts_never_have_an_exponent():
    assert [amount(x) for x in (1395.4, 99.96, 66.24, 9.996, 2.534, 0.0)] == ["1395", "100", "66.2", "10.0", "2.53", "0.00"]
