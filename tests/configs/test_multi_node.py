"""Training on two nodes: what one process with the same global batch does; a killed worker; who writes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nodes
import pytest
import torch

from bundle.arguments.config import shipped_path
from bundle.handlers.training.epoch_table import read_table
from bundle.networks import AttentionUnet

pytestmark = pytest.mark.slow
CHANNELS = [2, 2, 4, 4, 4]
SMALL = {
    "network_def#channels": CHANNELS,
    "patch_size": [32, 32, 32],
    "num_workers": 0,
    "val_interval": 1,
    "amp": False,
    "num_folds": 2,
    "fold": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_cases) -> Path:
    """Seven cases in two folds: four train, three validate, which two processes cannot share evenly."""
    return write_cases(tmp_path_factory.mktemp("cases") / "data", range(1, 4), count=7)


def run(data: Path, out: Path, overlays: tuple[str, ...] = (), **changes: Any) -> list[str]:
    """What comes after `python -m` for a training."""
    keys = {**SMALL, "dataset_dir": data, "output_dir": out, "ckpt_dir": out, "cache_dir": out.parent / "cache", **changes}
    files = [str(shipped_path(name)) for name in ("train", *overlays)]
    return ["monai.bundle", "run", "training", "--config_file", str(files), *nodes.words(keys)]


def trained(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


@pytest.mark.parametrize(
    ("overlays", "changes"),
    [
        ((), {"max_epochs": 3}),
        ((), {"max_epochs": 3, "gradient_averaging": 2}),
        (("finetune",), {"max_epochs": 2, "gates_first_epochs": 1}),
    ],
    ids=["plain", "gradient_averaging", "gates_first"],
)
def test_two_nodes_train_as_one_process_does(repository, data, tmp_path, overlays, changes) -> None:
    # Adam makes a whole step of a gradient that is nothing but rounding, such as a bias before a batch norm has: SGD does not.
    # At a rate of 0.05 one process alone differs by as much from one set of instructions to another; at 0.01 a gradient that is
    # twice as large makes a difference of 0.006
    changes = {**changes, "learning_rate": 0.01, "optimizer#_target_": "torch.optim.SGD"}
    if "finetune" in overlays:
        torch.manual_seed(0)
        torch.save(AttentionUnet(3, 1, 4, channels=CHANNELS).state_dict(), tmp_path / "start.pt")
        changes["pretrained"] = tmp_path / "start.pt"
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run(data, one, overlays, batch_size=2, **changes, **{"train#dataloader#shuffle": False})
    together = run(data, two, (*overlays, "multi_gpu_train"), batch_size=1, **changes, **{"train#sampler#shuffle": False})
    agents = nodes.start(repository, together, nodes=2)
    subprocess.run([sys.executable, "-m", *alone], env=nodes.environment(repository), check=True, capture_output=True)
    nodes.ended(agents)
    before, after = read_table(one / "training.csv"), read_table(two / "training.csv")
    same = [name for name in before[0] if name != "epoch" and not name.endswith("seconds") and before[0][name]]
    assert {"train_loss", "val_loss", "val_dice_pancreas", "val_dice_spleen", "val_dice_kidney"} <= set(same)
    for old, new in zip(before, after, strict=True):
        assert [float(new[name]) for name in same] == pytest.approx([float(old[name]) for name in same], abs=2e-4)
    expected, found = trained(one / "last.pt"), trained(two / "last.pt")
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}")
    if "finetune" in overlays:
        assert (one / "training.csv").is_file()
    # one process writes
    assert len(list((two / "tensorboard").glob("events*"))) == 1 and not list(two.rglob("*.unfinished"))


def test_a_worker_killed_in_mid_epoch_leaves_no_trace_in_the_weights(repository, data, tmp_path) -> None:
    changes = {"max_epochs": 6, "batch_size": 1, "resume": True}
    whole = nodes.start(repository, run(data, tmp_path / "whole", ("multi_gpu_train",), **changes), nodes=2)
    killed = nodes.start(repository, run(data, tmp_path / "killed", ("multi_gpu_train",), **changes), nodes=2, restarts=3)
    deadline = time.monotonic() + 300
    while len(read_table(tmp_path / "killed" / "training.csv")) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    nodes.workers(killed[1])[0].kill()
    said = nodes.ended(killed)
    nodes.ended(whole)
    assert any("resumed from" in text for text in said)
    assert [row["epoch"] for row in read_table(tmp_path / "killed" / "training.csv")] == list("123456")
    for name in ("last.pt", "model.pt"):
        states = [torch.load(tmp_path / folder / name, weights_only=True) for folder in ("whole", "killed")]
        expected, found = (state.get("model", state) for state in states)
        assert all(torch.equal(expected[key], found[key]) for key in expected), name
