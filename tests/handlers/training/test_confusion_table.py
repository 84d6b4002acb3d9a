"""The confusion matrix of each epoch as a table."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine

from bundle.handlers import ConfusionTable
from bundle.tables import read_csv


def evaluated(path: Path, epoch: int, matrix: list[list[int]]) -> list[dict[str, str]]:
    engine = Engine(lambda engine, batch: None)
    ConfusionTable(path, ["none", "portal"], "val_confusion").attach(engine)
    engine.state.metrics = {"val_confusion": torch.tensor(matrix)}
    engine.state.epoch = epoch
    ConfusionTable(path, ["none", "portal"], "val_confusion")(engine)
    return list(read_csv(path))


def test_a_row_for_each_epoch_and_class(tmp_path: Path) -> None:
    path = tmp_path / "confusion.csv"
    evaluated(path, 1, [[3, 1], [0, 2]])
    rows = evaluated(path, 2, [[4, 0], [1, 1]])
    assert rows[0] == {"epoch": "1", "class": "none", "none": "3", "portal": "1"}
    assert [(row["epoch"], row["class"], row["none"], row["portal"]) for row in rows[2:]] == [
        ("2", "none", "4", "0"),
        ("2", "portal", "1", "1"),
    ]


def test_epochs_that_are_trained_again_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "confusion.csv"
    for epoch in (1, 2, 3):
        evaluated(path, epoch, [[epoch, 0], [0, 0]])
    rows = evaluated(path, 2, [[9, 0], [0, 0]])
    assert [(row["epoch"], row["none"]) for row in rows if row["class"] == "none"] == [("1", "1"), ("2", "9")]


def test_an_engine_without_the_metric_writes_nothing(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: None)
    ConfusionTable(tmp_path / "c.csv", ["a", "b"], "val_confusion").attach(engine)
    engine.run([0])
    assert not (tmp_path / "c.csv").exists()
