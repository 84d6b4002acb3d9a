"""Training brings image and label to the same voxels, whatever order of axes each of the two is stored in."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

SHAPE = (20, 24, 15)


@pytest.fixture(scope="module")
def preprocessing() -> Compose:
    """The deterministic transforms of train.json."""
    parser = ConfigParser(ConfigParser.load_config_file(str(Path(__file__).parents[2] / "configs" / "train.json")))
    return Compose(parser.get_parsed_content("train#preprocessing_transforms"))


def _scan() -> tuple[np.ndarray, np.ndarray]:
    """A body in air whose HU say where the label is: 100 plus 20 times its value; none of it is like its mirror image."""
    label = np.zeros(SHAPE, np.uint8)
    label[4:9, 5:18, 3:7], label[12:15, 6:9, 8:12], label[10:17, 16:19, 4:6] = 1, 2, 3
    image = np.full(SHAPE, -1000, np.int16)
    image[2:18, 3:21, 1:14] = 20
    image[label > 0] = 100 + 20 * label[label > 0].astype(np.int16)
    return image, label


def _save(array: np.ndarray, affine: np.ndarray, codes: str, path: Path) -> str:
    image = nibabel.Nifti1Image(array, affine)
    nibabel.save(image.as_reoriented(ornt_transform(nibabel.io_orientation(affine), axcodes2ornt(codes))), path)
    return str(path)


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize(("image_codes", "label_codes"), [("RAS", "LPS"), ("LPS", "RAS"), ("LAS", "RPI"), ("RAS", "SPL"), ("ARS", "LIP")])
def test_values_fit_voxel_by_voxel(preprocessing: Compose, tmp_path: Path, degrees: float, image_codes: str, label_codes: str) -> None:
    array, label = _scan()
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array([1, 2, 3]) / np.sqrt(14)).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (-30, 12, 100)
    paths = {"image": _save(array, affine, image_codes, tmp_path / "image.nii.gz")}
    expected = preprocessing({**paths, "label": _save(label, affine, image_codes, tmp_path / "same.nii.gz")})
    found = preprocessing({**paths, "label": _save(label, affine, label_codes, tmp_path / "other.nii.gz")})
    torch.testing.assert_close(found["label"].as_tensor(), expected["label"].as_tensor(), rtol=0, atol=0)
    torch.testing.assert_close(found["image"].as_tensor(), expected["image"].as_tensor(), rtol=0, atol=0)
    assert [int((found["label"] == value).sum()) for value in (1, 2, 3)] == [int((label == value).sum()) for value in (1, 2, 3)]
    means = [float(found["image"][found["label"] == value].mean()) for value in (0, 1, 2, 3)]
    assert means[0] < means[1] < means[2] < means[3]
    spreads = [float(found["image"][found["label"] == value].std()) for value in (1, 2, 3)]
    assert max(spreads) < 1e-5, "each label value lies on its own HU"
