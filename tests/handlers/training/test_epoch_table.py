"""The table per epoch: exact cells, also after an interruption."""

import math

import pytest
from ignite.engine import Engine, Events, State

from bundle.handlers.training.epoch_table import EpochTable, dice_names, read_table

LABELS = {"background": 0, "pancreas": 1, "kidney": 3}


class Optimizer:
    """Stands for the optimiser: the table asks for its learning rate only."""

    def __init__(self):
        self.param_groups = [{"lr": 0.5}]


def evaluator(length=1):
    engine = Engine(lambda engine, batch: None)
    engine.state = State(epoch=0, metrics={}, epoch_length=length)
    return engine


def run(path, losses, validations, *, first=1, optimizer=None):
    """One epoch per entry of `losses` (a list of lists); `validations` maps the epoch to the metrics of `val`."""
    val, empty = evaluator(), evaluator(length=0)
    trainer = Engine(lambda engine, batch: [{"loss": batch}])
    table = EpochTable(path, LABELS, optimizer or Optimizer(), {"val": val, "test": empty})
    table.attach(trainer)
    for epoch, batches in enumerate(losses, start=first):
        trainer.state.epoch, trainer.state.max_epochs = epoch, epoch
        table.start(trainer)
        for loss in batches:
            trainer.state.output = [{"loss": loss}]
            table.collect(trainer)
        if epoch in validations:
            val.state.epoch, val.state.metrics = epoch, validations[epoch]
        table.write(trainer)
    return read_table(path)


def test_rows_by_hand(tmp_path):
    metrics = {"val_loss": 0.5, "val_dice": 0.25, "val_dice_pancreas": 0.125, "val_dice_kidney": math.nan, "val_structures": {}}
    rows = run(tmp_path / "t.csv", [[1.0, 2.0], [0.5, 0.25]], {2: metrics})
    dice = ["val_dice", "val_dice_pancreas", "val_dice_kidney"]
    times = ["train_seconds", "patches_per_second", "val_seconds", "seconds"]
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", *dice, "learning_rate", *times]
    assert [row["patches_per_second"] for row in rows] == ["", ""], "no batch had an image"
    assert [row["train_loss"] for row in rows] == ["1.5", "0.375"]
    assert [row["val_dice_pancreas"] for row in rows] == ["", "0.125"]
    # a structure that no case has is an empty cell, not a zero
    assert rows[1]["val_dice_kidney"] == "" and rows[1]["learning_rate"] == "0.5"


def test_seconds_of_training_and_validation_apart(tmp_path, monkeypatch):
    """A clock that the steps of a real engine wind on: two iterations of 2 s with 3 patches in all, validation 3 s, something else 4 s."""
    now = [0.0]
    monkeypatch.setattr("bundle.handlers.training.epoch_table.time.perf_counter", lambda: now[0])

    def passes(seconds, result=None):
        now[0] += seconds
        return result

    val = Engine(lambda engine, batch: passes(3.0))
    val.state = State(epoch=0, metrics={}, epoch_length=1)
    trainer = Engine(lambda engine, batch: passes(2.0, [{"loss": 1.0}]))
    interval = 2
    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=interval), lambda: val.run([0]))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: passes(4.0))
    EpochTable(tmp_path / "t.csv", LABELS, Optimizer(), {"val": val}).attach(trainer)
    trainer.run([{"image": [0, 0]}, {"image": [0]}], max_epochs=3)
    rows = read_table(tmp_path / "t.csv")
    names = ("train_seconds", "val_seconds", "seconds")
    # what an epoch did not do has no seconds
    assert [[row[name] for name in names] for row in rows] == [["4", "", "8"], ["4", "3", "11"], ["4", "", "8"]]
    assert [row["patches_per_second"] for row in rows] == ["0.75"] * 3


def test_validation_of_an_earlier_epoch_is_not_repeated(tmp_path):
    rows = run(tmp_path / "t.csv", [[1.0], [1.0]], {1: {"val_loss": 0.5}})
    assert [row["val_loss"] for row in rows] == ["0.5", ""]


def test_resumed_training_replaces_the_epochs_it_repeats(tmp_path):
    path = tmp_path / "t.csv"
    run(path, [[1.0], [2.0], [3.0]], {})
    rows = run(path, [[8.0]], {}, first=2)
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [("1", "1"), ("2", "8")]


def test_the_table_of_an_earlier_training_is_kept(tmp_path):
    run(tmp_path / "t.csv", [[1.0], [2.0]], {})
    run(tmp_path / "t.csv", [[3.0], [4.0], [5.0]], {})
    assert [row["train_loss"] for row in read_table(tmp_path / "t.csv")] == ["3", "4", "5"]
    assert [row["train_loss"] for row in read_table(tmp_path / "t_before.csv")] == ["1", "2"]
    run(tmp_path / "t.csv", [[6.0]], {})
    assert len(read_table(tmp_path / "t_before_2.csv")) == 3


@pytest.mark.parametrize("saved", ["epoch;train_loss\n1;0,5\n", "epoch,train_loss\n1,0.5 \N{POUND SIGN}\n"])
def test_a_table_that_a_spreadsheet_has_saved_its_own_way_is_kept(tmp_path, saved):
    """With semicolons its rows were lost, with another code than UTF-8 a resumed training ended."""
    path = tmp_path / "t.csv"
    path.write_bytes(saved.encode("latin-1"))
    assert [row["epoch"] for row in run(path, [[2.0], [3.0]], {}, first=2)] == ["2", "3"]
    assert (tmp_path / "t_before.csv").read_bytes() == saved.encode("latin-1") and not (tmp_path / "t_before_2.csv").exists()


def test_half_a_row_of_a_killed_writer_does_no_harm(tmp_path):
    path = tmp_path / "t.csv"
    run(path, [[1.0]], {})
    with open(path, "a") as stream:
        stream.write("\n,,")
    assert [row["epoch"] for row in run(path, [[2.0]], {}, first=2)] == ["1", "2"]


def test_learning_rate_is_that_of_the_epoch_not_of_the_next(tmp_path):
    """The schedule steps before the row is written."""
    optimizer = Optimizer()
    table = EpochTable(tmp_path / "t.csv", LABELS, optimizer)
    trainer = Engine(lambda engine, batch: None)
    trainer.state.epoch = 1
    table.start(trainer)
    optimizer.param_groups[0]["lr"] = 0.05
    table.write(trainer)
    assert read_table(tmp_path / "t.csv")[0]["learning_rate"] == "0.5"


def test_names_leave_the_background_out():
    assert dice_names(LABELS, "val") == ["val_dice_pancreas", "val_dice_kidney"]


def test_no_table_yet(tmp_path):
    assert read_table(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["", "epoch\n"])
def test_empty_table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv") == []


def test_measures_of_another_task(tmp_path):
    val, trainer = evaluator(), Engine(lambda engine, batch: [{"loss": batch}])
    table = EpochTable(tmp_path / "t.csv", evaluators={"val": val}, measures=["loss", "macro_f1", "f1_portal"])
    table.start(trainer)
    trainer.state.epoch = val.state.epoch = 1
    val.state.metrics = {"val_loss": 0.5, "val_macro_f1": 0.75, "val_f1_portal": 1.0, "val_f1_none": 0.5}
    table.write(trainer)
    (row,) = read_table(tmp_path / "t.csv")
    assert list(row)[:5] == ["epoch", "train_loss", "val_loss", "val_macro_f1", "val_f1_portal"]
    assert row["val_macro_f1"] == "0.75" and "val_f1_none" not in row and "val_dice" not in row
