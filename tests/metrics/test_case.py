"""Scores of one case: worked out by hand, and against SimpleITK and MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bundle.metrics import COLUMNS, score_case

LABELS = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": [3, 4]}


def _by_name(rows: list[dict]) -> dict[str, dict]:
    return {row["structure"]: row for row in rows}


def test_two_bars_shifted_by_one_voxel() -> None:
    """Bars of 3 voxels of 2 mm, shifted by one: 2 in common, one voxel of each bar 2 mm from the other bar."""
    prediction, reference = np.zeros((8, 5, 5), np.uint8), np.zeros((8, 5, 5), np.uint8)
    prediction[1:4, 2, 2] = 1
    reference[2:5, 2, 2] = 1
    row = _by_name(score_case(prediction, reference, (2.0, 1.0, 0.5), LABELS))["pancreas"]
    assert row["dice"] == pytest.approx(2 * 2 / 6)
    assert row["precision"] == row["recall"] == pytest.approx(2 / 3)
    assert row["assd_mm"] == pytest.approx((2 + 2) / 6)
    assert row["hd95_mm"] == pytest.approx(2 * 0.9)  # distances 0, 0, 2: rank 0.95 * 2 = 1.9 lies at 1.8
    assert row["volume_ml"] == row["reference_ml"] == pytest.approx(3 * 0.001)


def test_the_95_percent_distance_is_the_larger_direction_not_the_pool() -> None:
    """One voxel against a row of 21: from the voxel the distance is 0, from the row's 95 % rank (voxel 19) it is 19."""
    prediction, reference = np.zeros((21, 3, 3), np.uint8), np.zeros((21, 3, 3), np.uint8)
    prediction[0, 1, 1] = 1
    reference[:, 1, 1] = 1
    row = _by_name(score_case(prediction, reference, (1.0, 1.0, 1.0), LABELS))["pancreas"]
    assert row["hd95_mm"] == pytest.approx(19.0)
    assert row["assd_mm"] == pytest.approx(sum(range(21)) / 22)
    assert (row["precision"], row["recall"]) == (1.0, pytest.approx(1 / 21))


def test_what_is_not_defined_is_empty() -> None:
    prediction, reference = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    prediction[0, 0, :3] = 1  # a false positive: 3 voxels of 1 ml
    reference[3, 3, :2] = 2  # missed
    rows = _by_name(score_case(prediction, reference, (10.0, 10.0, 10.0), LABELS))
    assert list(rows) == ["pancreas", "spleen", "kidney"]
    assert rows["pancreas"] == {"structure": "pancreas", **dict.fromkeys(COLUMNS), "volume_ml": 3.0, "reference_ml": 0.0}
    missed = {"dice": 0.0, "recall": 0.0, "volume_ml": 0.0, "reference_ml": 2.0}
    assert rows["spleen"] == {"structure": "spleen", **dict.fromkeys(COLUMNS), **missed}
    assert rows["kidney"] == {"structure": "kidney", **dict.fromkeys(COLUMNS), "volume_ml": 0.0, "reference_ml": 0.0}


def test_values_of_one_list_are_one_structure() -> None:
    prediction, reference = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    prediction[1:3, 1, 1] = 3
    reference[1, 1, 1], reference[2, 1, 1] = 3, 4
    row = _by_name(score_case(prediction, reference, (1.0, 1.0, 1.0), LABELS))["kidney"]
    assert (row["dice"], row["assd_mm"], row["hd95_mm"]) == (1.0, 0.0, 0.0)


def test_sheared_grid_by_its_matrix() -> None:
    """Two voxels one slice apart; the slice axis leans by 3 mm over a rise of 4 mm, so they are 5 mm apart."""
    prediction, reference = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)
    prediction[1, 1, 0] = reference[1, 1, 1] = 1
    matrix = np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 4]])
    row = _by_name(score_case(prediction, reference, matrix, LABELS))["pancreas"]
    assert (row["hd95_mm"], row["volume_ml"]) == (pytest.approx(5.0), pytest.approx(0.004))


def test_refuses_other_shapes_and_float_maps() -> None:
    with pytest.raises(ValueError, match="one grid"):
        score_case(np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 4), np.uint8), (1, 1, 1), LABELS)
    with pytest.raises(ValueError, match="float64"):
        score_case(np.zeros((3, 3, 3)), np.zeros((3, 3, 3), np.uint8), (1, 1, 1), LABELS)


def _blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two rough ellipsoids per structure that overlap in part; structure 1 is cut by the border."""
    random = np.random.default_rng(seed)
    grid = np.indices((40, 34, 26)).astype(float)
    maps = []
    for _ in range(2):
        array = np.zeros(grid.shape[1:], np.uint8)
        for value, centre in ((1, (3, 16, 12)), (2, (28, 12, 12)), (3, (26, 25, 14))):
            middle, radius = centre + random.normal(0, 1.5, 3), random.uniform(5, 8, 3)
            distance = sum(((axis - m) / r) ** 2 for axis, m, r in zip(grid, middle, radius, strict=True))
            array[distance + random.normal(0, 0.15, array.shape) < 1] = value
        maps.append(array)
    return maps[0], maps[1]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.8, 5.0)])
def test_agrees_with_simpleitk(spacing: tuple[float, float, float]) -> None:
    """Overlap by LabelOverlapMeasures; distances read from Maurer distance maps of the contours, borders padded."""
    sitk = pytest.importorskip("SimpleITK")
    prediction, reference = _blobs(5)
    rows = _by_name(score_case(prediction, reference, spacing, LABELS))
    images = []
    for array in (prediction, reference):
        image = sitk.GetImageFromArray(np.pad(array, 1).transpose(2, 1, 0))
        image.SetSpacing(spacing)
        images.append(image)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(images[0], images[1])
    for value, name in ((1, "pancreas"), (2, "spleen"), (3, "kidney")):
        contours = [sitk.LabelContour(image == value, fullyConnected=False) for image in images]
        surfaces = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
        distances = [np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(c, False, False, True))) for c in contours]
        there, back = distances[1][surfaces[0]], distances[0][surfaces[1]]
        row = rows[name]
        assert row["dice"] == pytest.approx(overlap.GetDiceCoefficient(value))
        assert row["recall"] == pytest.approx(1 - overlap.GetFalseNegativeError(value))
        assert row["precision"] == pytest.approx(1 - overlap.GetFalseDiscoveryRate(value))
        assert row["assd_mm"] == pytest.approx((there.sum() + back.sum()) / (there.size + back.size), rel=1e-5)
        assert row["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
        assert row["volume_ml"] == pytest.approx((prediction == value).sum() * math.prod(spacing) / 1000)


def test_agrees_with_monai() -> None:
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    prediction, reference = _blobs(6)
    spacing = (0.7, 0.8, 3.0)
    one_hot = [torch.stack([torch.from_numpy(array == value) for value in range(4)])[None].float() for array in (prediction, reference)]
    average = compute_average_surface_distance(*one_hot, symmetric=True, spacing=spacing)[0]
    largest = compute_hausdorff_distance(*one_hot, percentile=95, spacing=spacing)[0]
    rows = score_case(prediction, reference, spacing, LABELS)
    assert [row["assd_mm"] for row in rows] == pytest.approx(average.tolist(), rel=1e-5)
    assert [row["hd95_mm"] for row in rows] == pytest.approx(largest.tolist(), rel=1e-5)


def test_memory_is_bounded_by_the_maps_not_by_the_structures() -> None:
    """Scattered false positives stretch the box over the whole scan; no distance map of it (8 bytes a voxel and more) is made."""
    import tracemalloc

    prediction = np.zeros((200, 200, 150), np.uint8)
    prediction[90:110, 90:110, 70:80] = 1
    reference = np.roll(prediction, 2, 0)
    prediction[::199, ::199, ::149] = 1
    tracemalloc.start()
    try:
        row = _by_name(score_case(prediction, reference, (1.0, 1.0, 1.0), LABELS))["pancreas"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert row["precision"] == pytest.approx(3600 / 4008) and peak < 6 * prediction.size
