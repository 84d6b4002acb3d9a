"""MONAI's own tools for bundles accept this one: property checks, `verify_net_in_out`, `ckpt_export`; from any working directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

CONFIGS = {"train": "train.json", "infer": "inference.json"}


def _monai_bundle(repository, folder, *arguments):
    """Run `python -m monai.bundle ...` in `folder`, where nothing of the bundle lies, as after `pip install -e .`."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")]))
    run = subprocess.run([sys.executable, "-m", "monai.bundle", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture
def five_cases(tmp_path):
    """The least that five folds need: five images of 20 voxels along each axis, each with all four labels."""
    label = np.zeros((20, 20, 20), np.uint8)
    for value in (1, 2, 3):
        label[4 * value : 4 * value + 3, 5:9, 5:9] = value
    for case in range(5):
        for folder, content in (("imagesTr", label * 50.0 + case), ("labelsTr", label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(content.astype(np.float32), np.diag([2.0, 2, 2, 1])), tmp_path / folder / f"case_{case}.nii.gz")
    return tmp_path


@pytest.mark.parametrize("workflow_type", CONFIGS)
def test_monais_property_check_finds_nothing_wrong(repository, five_cases, workflow_type):
    from monai.bundle import ConfigWorkflow

    folders = {"dataset_dir": str(five_cases), "output_dir": str(five_cases / "out"), "cache_dir": str(five_cases / "cache")}
    config = str(repository / "configs" / CONFIGS[workflow_type])
    workflow = ConfigWorkflow(config, logging_file=False, workflow_type=workflow_type, **folders)
    workflow.initialize()
    assert not workflow.check_properties()


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS.values())
def test_network_takes_and_gives_what_the_metadata_says(repository, tmp_path, config):
    configs = repository / "configs"
    arguments = ["--net_id", "network_def", "--config_file", str(configs / config), "--meta_file", str(configs / "metadata.json")]
    assert "is verified with no error" in _monai_bundle(repository, tmp_path, "verify_net_in_out", *arguments)


@pytest.mark.slow
def test_scripted_export_gives_what_the_checkpoint_gives(repository, tmp_path):
    from bundle.networks import AttentionUnet

    torch.manual_seed(0)
    network = AttentionUnet().eval()
    shutil.copytree(repository / "configs", tmp_path / "configs")
    (tmp_path / "models").mkdir()
    torch.save(network.state_dict(), tmp_path / "models" / "model.pt")
    config, meta = tmp_path / "configs" / "inference.json", tmp_path / "configs" / "metadata.json"
    arguments = ["--net_id", "network_def", "--config_file", str(config), "--meta_file", str(meta), "--bundle_root", str(tmp_path)]
    _monai_bundle(repository, tmp_path, "ckpt_export", *arguments)
    image = torch.rand(1, 1, 33, 18, 20)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "models" / "model.ts")(image), network(image), rtol=1e-4, atol=1e-5)
