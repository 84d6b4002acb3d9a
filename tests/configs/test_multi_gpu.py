"""configs/multi_gpu_train.json with two processes on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from monai.bundle import ConfigParser

from bundle.arguments.config import shipped_path
from bundle.handlers.training.epoch_table import read_table
from bundle.networks import AttentionUnet


def test_only_tensorboard_is_silent_on_the_other_processes(repository):
    """The overlay sets `rank` and cuts no list: every handler of every overlay is there in each process."""
    config = ConfigParser(ConfigParser.load_config_files([str(shipped_path(n)) for n in ("train", "multi_gpu_train")]))
    assert config["train#trainer#train_handlers"] == "@train#handlers" and config["validate#evaluator#val_handlers"] == "@validate#handlers"
    handlers = [one for one in (*config["train#handlers"], *config["validate#handlers"]) if isinstance(one, dict)]
    silent = [one["_target_"] for one in handlers if "@rank" in one.get("_disabled_", "")]
    assert silent == ["TensorBoardStatsHandler"] * 2 == [one["_target_"] for one in handlers if "TensorBoard" in one["_target_"]]


@pytest.mark.slow
def test_two_processes_train_and_validate_together(repository, write_cases, tmp_path):
    _train(repository, write_cases(tmp_path / "data", range(1, 4), count=6), tmp_path / "out", (), max_epochs=2)
    rows = read_table(tmp_path / "out" / "training.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"] and rows[1]["val_dice_kidney"] != ""
    # without the wrapper's `module.` in front of every name
    for name in ("model.pt", "last.pt"):
        state = torch.load(tmp_path / "out" / name, weights_only=True)
        assert not any(key.startswith("module.") for key in state.get("model", state))


@pytest.mark.slow
def test_two_processes_finetune_the_gates_first_and_draw_them(repository, write_cases, tmp_path):
    """In an epoch of the gates alone every other weight stays what it was in the pretrained file, in both processes together."""
    torch.manual_seed(0)
    pretrained = AttentionUnet(3, 1, 4, channels=CHANNELS).state_dict()
    torch.save(pretrained, tmp_path / "start.pt")
    cases = write_cases(tmp_path / "data", range(1, 4), count=6)
    keys = {"pretrained": tmp_path / "start.pt", "gates_first_epochs": 1, "max_epochs": 1, "learning_rate": 0.01}
    keys["figure_epochs"] = [1]
    _train(repository, cases, tmp_path / "out", ("finetune", "attention_figures"), **keys)
    trained = torch.load(tmp_path / "out" / "last.pt", weights_only=True)["model"]
    parameters = [name for name, _ in AttentionUnet(3, 1, 4, channels=CHANNELS).named_parameters()]
    moved = {name.split(".")[0] for name in parameters if not torch.equal(trained[name], pretrained[name])}
    assert moved == {"skips", "gating"}
    assert (tmp_path / "out" / "attention.png").is_file()


CHANNELS = [2, 2, 4, 4, 4]


def _train(repository, cases, out, overlays, **changes):
    keys = {"dataset_dir": cases, "output_dir": out, "ckpt_dir": out, "cache_dir": out / "cache", "network_def#channels": CHANNELS}
    keys |= {"patch_size": [32, 32, 32], "num_workers": 0, "val_interval": 1, **changes}
    configs = [str(shipped_path(name)) for name in ("train", *overlays, "multi_gpu_train")]
    arguments = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle", "run", "training"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([*command, "--config_file", str(configs), *arguments], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
