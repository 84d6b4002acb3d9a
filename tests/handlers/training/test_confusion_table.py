"""The confusion matrix of each epoch as a table."""

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Engine

from bundle.handlers import ConfusionTable
from bundle.tables import read_csv


def evaluated(path: Path, epoch: int, matrix: list[list[int]], *, resume: bool = True) -> list[dict[str, str]]:
    """The table after one more validation, by a handler of its own as a process that resumes makes it."""
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics = {"val_confusion": torch.tensor(matrix)}
    engine.state.epoch = epoch
    ConfusionTable(path, ["none", "portal"], "val_confusion", resume=resume)(engine)
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


def test_another_training_begins_a_table_and_keeps_the_former(tmp_path: Path) -> None:
    """The former one was validated in each epoch, this one in each second: rows of both were mixed."""
    path = tmp_path / "confusion.csv"
    for epoch in (1, 2):
        evaluated(path, epoch, [[epoch, 0], [0, 0]])
    rows = evaluated(path, 2, [[9, 0], [0, 0]], resume=False)
    assert [(row["epoch"], row["none"]) for row in rows if row["class"] == "none"] == [("2", "9")]
    assert [row["none"] for row in read_csv(tmp_path / "confusion_before.csv") if row["class"] == "none"] == ["1", "2"]
    handler, engine = ConfusionTable(path, ["none", "portal"], "val_confusion"), Engine(lambda engine, batch: None)
    handler.attach(engine)
    engine.state.metrics = {"val_confusion": torch.tensor([[5, 0], [0, 0]])}
    for epoch in (3, 4):
        engine.state.epoch = epoch
        handler(engine)
    assert [row["epoch"] for row in read_csv(path)] == ["3", "3", "4", "4"], "its own rows stay"


def test_an_engine_without_the_metric_writes_nothing(tmp_path: Path) -> None:
    engine = Engine(lambda engine, batch: None)
    ConfusionTable(tmp_path / "c.csv", ["a", "b"], "val_confusion").attach(engine)
    engine.run([0])
    assert not (tmp_path / "c.csv").exists()
