"""A short training on a real CT, and an inference with what it learned."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import create_workflow

from bundle.handlers.training.epoch_table import read_table

# 6 mm: the whole torso is 61x51x56 voxels, and a step takes a fraction of a second
SHARED = {"spacing": [6.0, 6.0, 6.0], "network_def#channels": [8, 8, 16, 16, 32]}


@pytest.mark.slow
def test_training_and_inference_on_a_real_torso(repository, shared_data, tmp_path):
    """Cases are handed over as lists, as MONAI Label does. The network has to learn the scan that it trains on."""
    ct = shared_data / "ct" / "torso_3mm"
    item = {"image": str(ct / "ct.nii.gz"), "label": str(ct / "labels.nii.gz")}
    folders = {"output_dir": str(tmp_path / "out"), "ckpt_dir": str(tmp_path / "out"), "cache_dir": str(tmp_path / "cache")}
    lists = {"train#dataset#data": [item] * 4, "validate#dataset#data": [item]}
    settings = {"patch_size": [48, 48, 48], "max_epochs": 50, "val_interval": 50, "num_workers": 0, "flip_prob": 0.0}
    rate = {"learning_rate": 0.005, "lr_step": 35, "loss#_target_": "DiceCELoss"}
    overrides = {**SHARED, **folders, **lists, **settings, **rate}
    trained = create_workflow(
        config_file=str(repository / "configs" / "train.json"), workflow_type="train", logging_file=False, **overrides
    )
    trained.run()
    trained.finalize()
    rows = read_table(tmp_path / "out" / "training.csv")
    assert float(rows[-1]["train_loss"]) < 0.7 * float(rows[0]["train_loss"])
    assert float(rows[-1]["val_dice_spleen"]) > 0.4
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "torso.nii.gz").symlink_to(ct / "ct.nii.gz")
    folders = {"dataset_dir": str(tmp_path / "scans"), "output_dir": str(tmp_path / "labels")}
    folders["ckpt_path"] = str(tmp_path / "out" / "model.pt")
    inferred = create_workflow(
        config_file=str(repository / "configs" / "inference.json"), workflow_type="infer", logging_file=False, **SHARED, **folders
    )
    inferred.run()
    inferred.finalize()
    result, scan = nib.load(tmp_path / "labels" / "torso_seg.nii.gz"), nib.load(item["image"])
    assert result.shape == scan.shape and np.allclose(result.affine, scan.affine)
    spleen, truth = np.asarray(result.dataobj) == 2, np.asarray(nib.load(item["label"]).dataobj) == 2
    assert 2 * (spleen & truth).sum() / (spleen.sum() + truth.sum()) > 0.4
