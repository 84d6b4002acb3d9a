"""`configs/multi_gpu_train.json` merged as MONAI Label merges it, here with two processes on the CPU in place of two GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser


@pytest.fixture
def cases(tmp_path: Path) -> list[dict[str, str]]:
    """Four scans of 20 voxels along each axis, each with all labels."""
    label = np.zeros((20, 20, 20), np.uint8)
    for value in (1, 2, 3):
        label[4 * value : 4 * value + 3, 5:9, 5:9] = value
    made = []
    for case in range(4):
        made.append({"image": str(tmp_path / f"image_{case}.nii.gz"), "label": str(tmp_path / f"label_{case}.nii.gz")})
        nibabel.save(nibabel.Nifti1Image((label * 50.0 + case).astype(np.float32), np.diag([2.0, 2, 2, 1])), made[-1]["image"])
        nibabel.save(nibabel.Nifti1Image(label, np.diag([2.0, 2, 2, 1])), made[-1]["label"])
    return made


@pytest.mark.slow
@pytest.mark.parametrize("run_id", ["run", ""], ids=["run", "as_viewers_ask"])
def test_two_processes_train_from_the_current_weights(repository: Path, tmp_path: Path, cases: list[dict[str, str]], run_id: str) -> None:
    """One validation case for two processes: the second has nothing to do, and must not leave the first waiting."""
    (tmp_path / "models").mkdir()
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / "train.json"))
    small = {"network_def#channels": [2, 4, 4, 4, 4], "patch_size": [16, 16, 16], "num_workers": 0, "cache_dir": None}
    handlers = parser["train#handlers"]
    loader = {"_target_": "CheckpointLoader", "load_path": str(tmp_path / "models" / "model.pt"), "load_dict": {"model": "$@network"}}
    handlers.insert(0, loader | {"strict": False})
    overrides = {
        "bundle_root": str(tmp_path),
        "train#trainer#max_epochs": 1,
        "train#dataset#data": cases[:3],
        "validate#dataset#data": cases[3:],
        "device": "cpu",
        "train#handlers": handlers,
    }
    for key, value in (small | overrides).items():
        parser.set(value, key)
    ConfigParser.export_config_file(parser.config, str(tmp_path / "monailabel_train.json"), indent=2)
    network = ConfigParser(parser["network_def"] | {"in_channels": 1, "out_channels": 4}).get_parsed_content("")
    torch.save({"model": network.state_dict()}, tmp_path / "models" / "model.pt")

    configs = [str(tmp_path / "monailabel_train.json"), str(repository / "configs" / "multi_gpu_train.json")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2", "-m", "monai.bundle"]
    command += ["run", run_id, "--meta_file", str(repository / "configs" / "metadata.json"), "--config_file", str(configs)]
    command += ["--logging_file", str(repository / "configs" / "logging.conf")]
    environment = dict(os.environ, PYTHONPATH=str(repository), OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stderr.count("epoch 1/1") == 1
    trained = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert trained.keys() == network.state_dict().keys()
    moved = [float((trained[key] - value).abs().max()) for key, value in network.state_dict().items() if value.ndim == 5]
    # one step of Adam moves a weight by no more than the rate, 1e-4: the current weights were the start
    assert 0 < max(moved) < 1e-3
    assert (tmp_path / "models" / "model_before_training.pt").exists()
