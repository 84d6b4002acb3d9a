"""segment: a path, a nibabel image and an array give what the command line gives."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from awkward import AFFINE, SHAPE, body, dicom_series, nifti, reoriented

from bundle.engines import segment
from bundle.errors import UserError
from bundle.networks import AttentionUnet


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict:
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(AttentionUnet(channels=(4, 4, 8, 8, 8)).state_dict(), path)
    return {"ckpt_path": str(path), "network_def#channels": [4, 4, 8, 8, 8], "precision": "fp32"}


def test_path_image_and_array_agree(tmp_path: Path, options: dict) -> None:
    values, affine = reoriented(body(), AFFINE, "PIR")
    path = nifti(tmp_path / "scan.nii.gz", values, affine)
    labels = segment(path, **options)
    assert labels.shape == values.shape and labels.dtype == np.uint8 and len(np.unique(labels)) > 1
    assert np.array_equal(segment(nibabel.load(path), **options), labels)
    assert np.array_equal(segment(values, affine, **options), labels)
    assert np.array_equal(segment(torch.from_numpy(values.copy()).float(), affine, **options), labels)


def test_dicom_folder(tmp_path: Path, options: dict) -> None:
    assert segment(dicom_series(tmp_path / "series"), **options).shape == SHAPE


def test_options_are_those_of_the_config(options: dict) -> None:
    assert segment(body(), AFFINE, **options, flips=True, spacing=[3.0, 3.0, 3.0]).shape == SHAPE
    with pytest.raises(UserError, match="no key of configs"):
        segment(body(), AFFINE, **options, colour="red")


def test_a_path_is_one_scan_and_not_a_label_map(tmp_path: Path, options: dict) -> None:
    nifti(tmp_path / "a.nii.gz")
    nifti(tmp_path / "a_seg.nii.gz")
    assert np.array_equal(segment(tmp_path, **options), segment(tmp_path / "a.nii.gz", **options))
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "labels.nii.gz")
    with pytest.raises(UserError, match="label map"):
        segment(tmp_path / "labels.nii.gz", **options)
    nifti(tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match="2 scans in this folder"):
        segment(tmp_path, **options)
    (tmp_path / "empty.nii.gz").touch()
    with pytest.raises(UserError, match="the file is empty"):
        segment(tmp_path / "empty.nii.gz", **options)
    with pytest.raises(UserError, match="affine"):
        segment(body(), np.zeros((4, 4)), **options)


def test_mistakes_are_named(options: dict) -> None:
    with pytest.raises(UserError, match="affine"):
        segment(body(), **options)
    with pytest.raises(UserError, match="two-dimensional"):
        segment(body()[:, :, 0], AFFINE, **options)
    with pytest.raises(UserError, match="no such file"):
        segment("/nowhere/scan.nii.gz", **options)
    with pytest.raises(UserError, match=r"model\.pt: there is no such file"):
        segment(body(), AFFINE, ckpt_path="/nowhere/model.pt")
