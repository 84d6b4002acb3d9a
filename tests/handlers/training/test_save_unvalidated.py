"""`bundle.handlers.SaveUnvalidated`: a training without a validation still leaves its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from bundle.handlers import CheckpointSaver, SaveUnvalidated


def weight_after(tmp_path: Path, *, best_epoch: int) -> float:
    """Train (add 1 to the only weight, 2, in each of 2 epochs) and read the weight that lies in model.pt, 5 before."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 2.0)
    if not (tmp_path / "model.pt").exists():
        torch.save({"model": {"weight": torch.tensor([[5.0]])}}, tmp_path / "model.pt")
    evaluator = Engine(lambda engine, batch: None)
    # what MONAI's evaluator keeps: -1 until its first key metric
    evaluator.state.best_metric_epoch = best_epoch
    saver = CheckpointSaver(
        str(tmp_path),
        {"model": network},
        save_key_metric=True,
        key_metric_filename="model.pt",
        keep_original="model_before_training.pt",
    )

    def step(engine: Engine, batch: int) -> None:
        with torch.no_grad():
            network.weight += 1

    trainer = Engine(step)
    SaveUnvalidated(saver, evaluator).attach(trainer)
    trainer.run([0], max_epochs=2)
    return weight_in(tmp_path / "model.pt")


def weight_in(file: Path) -> float:
    content = torch.load(file, weights_only=True)
    return float(content.get("model", content)["weight"])


def test_last_weights_are_saved_without_a_validation(tmp_path: Path) -> None:
    assert weight_after(tmp_path, best_epoch=-1) == pytest.approx(4.0)
    assert weight_in(tmp_path / "model_before_training.pt") == 5.0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "model_before_training.pt"]


def test_the_same_weights_again_leave_no_copy(tmp_path: Path) -> None:
    weight_after(tmp_path, best_epoch=-1)
    assert weight_after(tmp_path, best_epoch=-1) == pytest.approx(4.0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "model_before_training.pt"]


def test_best_weights_stay_after_a_validation(tmp_path: Path) -> None:
    assert weight_after(tmp_path, best_epoch=1) == pytest.approx(5.0)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
