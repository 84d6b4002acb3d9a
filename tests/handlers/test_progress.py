"""What a person watching sees."""

import io

import pytest
from ignite.engine import Engine, Events, State

from bundle.handlers.progress import Progress, duration


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
    assert lines[0].startswith("epoch 1/3  loss 0.750")
    assert "val Dice 0.750 (pancreas 0.50, spleen 1.00)" in lines[1]
    assert "Dice" not in lines[2] and lines[2].endswith("done")


def test_terminal_gets_a_bar_and_a_line_per_validation():
    text = run(Terminal())
    assert "6/6" in text and text.count("val Dice") == 1 and "epoch 1/3  loss" not in text


@pytest.mark.parametrize(("seconds", "words"), [(45, "45 s"), (89.4, "89 s"), (150, "2 min"), (720, "12 min"), (12000, "3 h 20 min")])
def test_durations(seconds, words):
    assert duration(seconds) == words
