"""Verb `shapes`: statistics of boxes by hand, from files to the transform that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.errors import UserError
from bundle.quality.learn_shapes import shapes
from bundle.transforms import ShapePriord
from bundle.transforms.shape_prior import NOTES

LABELS = {"background": 0, "spleen": 1, "kidney": 2}


def abdomen(shift: int, longer: int) -> np.ndarray:
    """A spleen of 8x8x(8 + longer) voxels, moved up by `shift`, and two kidneys of 6x6x10 voxels, at x 40 to 45 and 60 to 65."""
    labels = np.zeros((80, 40, 60), np.uint8)
    labels[10:18, 10:18, 30 + shift : 38 + longer + shift] = 1
    labels[40:46, 10:16, 10:20] = labels[60:66, 10:16, 10:20] = 2
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "maps").mkdir()
    for number, (shift, longer) in enumerate(((-2, 0), (-1, 1), (0, 0), (1, 1), (2, 0))):
        image = nibabel.Nifti1Image(abdomen(shift, longer), np.diag([2.0, 2.0, 2.0, 1.0]))
        nibabel.save(image, tmp_path / "maps" / f"case_{number}.nii.gz")
    return tmp_path / "maps"


def test_volume_place_and_shape_by_hand(folder: Path, tmp_path: Path) -> None:
    shapes(str(folder), str(tmp_path / "shapes.json"), LABELS)
    learned = json.loads((tmp_path / "shapes.json").read_text(encoding="utf-8"))
    assert learned["cases"] == 5
    spleen, kidney = learned["structures"]["spleen"], learned["structures"]["kidney"]
    assert (spleen["pieces"], kidney["pieces"], spleen["cases"]) == (1, 2, 5)
    volumes = np.log(np.array([8, 9, 8, 9, 8]) * 64 * 0.008)
    assert spleen["log_ml"] == pytest.approx({"mean": volumes.mean(), "sd": volumes.std(ddof=1)}, abs=1e-4)
    assert kidney["log_ml"]["sd"] == 0.05, "no variation at all says that too few cases were seen"
    # centres in voxels: spleen 13.5, 13.5, and 33.5 + shift + longer / 2; the middle between the kidneys 52.5, 12.5, 14.5
    (place,) = spleen["place"]["kidney"]
    heights = 2 * (33.5 + np.array([-2, -0.5, 0, 1.5, 2]) - 14.5)
    np.testing.assert_allclose(place["mean_mm"], [-78.0, 2.0, heights.mean()], atol=0.06)
    own = np.mean([(2 * n) ** 2 / 12 for n in (8, 9, 8, 9, 8)])
    expected = np.diag([16**2 / 12, 16**2 / 12, own + heights.var(ddof=1)])
    np.testing.assert_allclose(place["covariance_mm2"], expected, atol=0.06)
    assert [mode["mean_mm"][0] for mode in kidney["place"]["spleen"]] == [58.0, 98.0]


def test_what_it_was_learnt_from_is_usual(folder: Path, tmp_path: Path) -> None:
    shapes(str(folder), str(tmp_path / "shapes.json"), LABELS)
    clean = ShapePriord("pred", str(tmp_path / "shapes.json"), LABELS)
    for shift, longer in ((-2, 0), (2, 0), (1, 1)):
        given = MetaTensor(torch.from_numpy(abdomen(shift, longer))[None], affine=np.diag([2.0, 2.0, 2.0, 1.0]))
        found = clean({"pred": given})["pred"]
        assert torch.equal(found, given) and found.meta[NOTES] == []


def test_a_fragment_counts_for_the_volume_and_is_no_piece(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        image = nibabel.load(path)
        labels = np.asarray(image.dataobj).copy()
        labels[70:75, 30:35, 50:52] = 1  # 50 of 512 voxels and more
        nibabel.save(nibabel.Nifti1Image(labels, image.affine), path)
    shapes(str(folder), str(tmp_path / "shapes.json"), LABELS)
    spleen = json.loads((tmp_path / "shapes.json").read_text(encoding="utf-8"))["structures"]["spleen"]
    volumes = np.log((np.array([8, 9, 8, 9, 8]) * 64 + 50) * 0.008)
    assert spleen["pieces"] == 1 and spleen["log_ml"]["mean"] == pytest.approx(volumes.mean(), abs=1e-4)


def test_too_few_cases_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in sorted(folder.iterdir())[:2]:
        path.unlink()
    with pytest.raises(UserError, match="5 cases"):
        shapes(str(folder), str(tmp_path / "shapes.json"), LABELS)
    assert not (tmp_path / "shapes.json").exists()
