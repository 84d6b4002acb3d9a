"""What a person watching sees."""

import io
import re

import pytest
from ignite.engine import Engine, Events, State

from bundle.handlers.training.progress import Progress, duration


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def run(stream, epochs=3):
    val = Engine(lambda engine, batch: None)
    val.state = State(epoch=0, metrics={})
    trainer = Engine(lambda engine, batch: [{"loss": batch}])

    def validate(engine):
        if engine.state.epoch == 2:
            val.state.epoch = 2
            val.state.metrics = {"val_dice": 0.75, "val_dice_pancreas": 0.5, "val_dice_spleen": 1.0, "val_structures": {}}

    trainer.add_event_handler(Events.EPOCH_COMPLETED, validate)
    Progress({"val": val}, stream).attach(trainer)
    trainer.run([0.5, 1.0], max_epochs=epochs)
    return stream.getvalue()


def test_log_file_gets_a_line_per_epoch():
    lines = run(io.StringIO()).splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  epoch 1/3  loss 0\.750  .*left", lines[0])
    assert "val Dice 0.750 (pancreas 0.50, spleen 1.00)" in lines[1]
    assert "Dice" not in lines[2] and lines[2].endswith("done")


def test_terminal_gets_a_bar_and_a_line_per_validation():
    text = run(Terminal())
    assert "6/6" in text and text.count("val Dice") == 1 and "epoch 1/3  loss" not in text


def test_the_end_names_what_was_written_and_where(tmp_path):
    for name in ("training.csv", "last.pt", "model.pt"):
        (tmp_path / name).touch()
    (tmp_path / "previews").mkdir()
    stream, val = io.StringIO(), Engine(lambda engine, batch: None)
    val.state = State(epoch=0, metrics={}, best_metric=0.8125, best_metric_epoch=2)
    trainer = Engine(lambda engine, batch: [{"loss": batch}])
    Progress({"val": val}, stream, tmp_path, tmp_path / "model.pt").attach(trainer)
    trainer.run([0.5], max_epochs=3)
    end = stream.getvalue().splitlines()[3:]
    assert end[0].startswith("trained: 3 epochs")
    assert end[1] == f"weights: {tmp_path / 'model.pt'} (best validation Dice 0.812, in epoch 2)"
    assert [line.split(":")[0].strip() for line in end[2:5]] == [str(tmp_path / name) for name in ("training.csv", "previews", "last.pt")]
    assert end[5] == f"look at {tmp_path / 'previews'} next"


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (89.4, "89 s"), (150, "2 min"), (720, "12 min"), (12000, "3 h 20 min")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_another_measure():
    stream, val = io.StringIO(), Engine(lambda engine, batch: None)
    val.state = State(epoch=1, metrics={"val_macro_f1": 0.75, "val_f1_none": 0.5, "val_f1_portal": 1.0, "val_loss": 3.0})
    trainer = Engine(lambda engine, batch: [{"loss": batch}])
    Progress({"val": val}, stream, measure="macro F1").attach(trainer)
    trainer.run([0.5], max_epochs=1)
    assert "val macro F1 0.750 (none 0.50, portal 1.00)" in stream.getvalue()
