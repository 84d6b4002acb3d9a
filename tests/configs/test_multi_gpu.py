"""configs/multi_gpu_train.json with two processes on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.handlers.epoch_table import read_table


def test_overlay_only_changes_what_it_must(repository):
    """Every key that is not new exists in train.json; handlers are cut from their end, as MONAI Label needs it."""
    config = ConfigParser(ConfigParser.load_config_files([str(repository / "configs" / f"{n}.json") for n in ("train", "multi_gpu_train")]))
    assert config["train#trainer#train_handlers"].startswith("$@train#handlers[:")
    assert config["validate#handlers#0#save_dict#model"] == "$@network.module"
    last = (config["train#handlers"][-1], config["validate#handlers"][-1])
    assert all(handler["_target_"] == "TensorBoardStatsHandler" for handler in last)


@pytest.mark.slow
def test_two_processes_train_and_validate_together(repository, write_cases, tmp_path):
    cases = write_cases(tmp_path / "data", range(1, 4), count=6)
    keys = {"dataset_dir": cases, "output_dir": tmp_path / "out", "ckpt_dir": tmp_path / "out", "cache_dir": tmp_path / "cache"}
    keys |= {"network_def#channels": [2, 2, 4, 4, 4], "patch_size": [32, 32, 32], "num_workers": 0, "max_epochs": 2, "val_interval": 1}
    configs = [str(repository / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    arguments = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle", "run", "training"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([*command, "--config_file", str(configs), *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    rows = read_table(tmp_path / "out" / "training.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"] and rows[1]["val_dice_kidney"] != ""
    # without the wrapper's `module.` in front of every name
    for name in ("model.pt", "last.pt"):
        state = torch.load(tmp_path / "out" / name, weights_only=True)
        assert not any(key.startswith("module.") for key in state.get("model", state))
