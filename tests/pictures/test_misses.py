"""The picture of misses: colours, the slice chosen, axis orders."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundle.drawing.planes import Views
from bundle.errors import UserError
from bundle.pictures import misses as module
from bundle.pictures.misses import COLOURS, _titles, kinds_of_voxel, misses

LABELS = {"background": 0, "pancreas": 1}


def test_colours_say_what_is_missed_and_what_is_too_much() -> None:
    prediction, reference = np.array([[True, True, False, False]]), np.array([[True, False, True, False]])
    picture = kinds_of_voxel(prediction, reference)
    assert [tuple(pixel[:3]) for pixel in picture[0]] == [COLOURS["both"], COLOURS["too much"], COLOURS["missed"], (0, 0, 0)]
    assert picture[0, 3, 3] == 0


@pytest.mark.parametrize("direction", [1, -1])
def test_slice_with_most_misses(direction: int) -> None:
    """5 voxels are missed in slice 2: that is 2 from below, or 7 - 2 where the axis points to the feet."""
    expected, predicted = np.zeros((6, 6, 8), bool), np.zeros((6, 6, 8), bool)
    expected[1:5, 1:5, 4] = predicted[1:5, 1:5, 4] = True
    expected[0, 0:5, 2] = True
    views = Views(np.diag([1, 1, direction, 1]), expected.shape)
    assert module._worst_slice(expected, predicted, views)[2] == (2 if direction > 0 else 5)


def test_draws_predictions_in_any_axis_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    reference = np.zeros((20, 18, 10), np.uint8)
    reference[5:12, 6:12, 3:7] = 1
    affine = np.diag([2.0, 2, 3, 1])
    scan, moved = random.normal(40, 30, reference.shape).astype(np.float32), np.roll(reference, 2, 0)
    for name, array in (("ct", scan), ("ref", reference), ("a", moved)):
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    mirror = np.array([[-1, 0, 0, 19], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    flipped = nibabel.Nifti1Image(moved[::-1], affine @ mirror)
    nibabel.save(flipped, tmp_path / "b.nii.gz")
    from matplotlib.image import imread

    pictures = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.png"
        misses(str(tmp_path / "ct.nii.gz"), str(tmp_path / f"{name}.nii.gz"), str(tmp_path / "ref.nii.gz"), str(out), LABELS, names="x")
        pictures.append(imread(out))
    np.testing.assert_array_equal(*pictures)
    red = (pictures[0][..., 0] > 0.75) & (pictures[0][..., 1] < 0.45) & (pictures[0][..., 2] < 0.45)
    assert red.sum() > 200
    with pytest.raises(UserError, match=r"2 names for 1 prediction\."):
        misses(str(tmp_path / "ct.nii.gz"), str(tmp_path / "a.nii.gz"), str(tmp_path / "ref.nii.gz"), labels=LABELS, names="x,y")


def test_predictions_are_named_by_the_folders_in_which_they_differ(tmp_path: Path) -> None:
    two_runs = [tmp_path / run / "fold_0" / "evaluation" / "a_seg.nii.gz" for run in ("unet", "att")]
    assert _titles(two_runs, None) == ["unet", "att"]
    assert _titles([tmp_path / "x" / "a.nii.gz", tmp_path / "y" / "a.nii.gz"], None) == ["x", "y"]
    assert _titles([tmp_path / "x" / "a.nii.gz", tmp_path / "x" / "b.nii.gz"], None) == ["a.nii.gz", "b.nii.gz"]
    assert _titles([tmp_path / "x" / "a.nii.gz"], None) == ["x"] and _titles(two_runs, "U-Net, gates") == ["U-Net", "gates"]
