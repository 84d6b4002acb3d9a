"""`bundle.handlers.ValidationHandler`: every interval-th epoch and the last one are validated, each once."""

from __future__ import annotations

import pytest
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import nn

from bundle.handlers import ValidationHandler


class Counting(SupervisedEvaluator):
    """An evaluator that only keeps which epochs it was asked for."""

    def __init__(self) -> None:
        super().__init__("cpu", [], nn.Identity())
        self.asked: list[int] = []

    def run(self, global_epoch: int = 1) -> None:
        self.asked.append(global_epoch)


@pytest.mark.parametrize(
    ("interval", "epochs", "expected"),
    [(4, 6, [4, 6]), (2, 6, [2, 4, 6]), (5, 3, [3]), (1, 3, [1, 2, 3]), (3, 1, [1])],
)
def test_epochs_that_are_validated(interval: int, epochs: int, expected: list[int]) -> None:
    evaluator, trainer = Counting(), Engine(lambda engine, batch: None)
    ValidationHandler(interval, evaluator).attach(trainer)
    trainer.run([0], max_epochs=epochs)
    assert evaluator.asked == expected


def test_iterations_stay_as_in_monai() -> None:
    evaluator, trainer = Counting(), Engine(lambda engine, batch: None)
    ValidationHandler(2, evaluator, epoch_level=False).attach(trainer)
    trainer.run([0, 1, 2], max_epochs=1)
    assert evaluator.asked == [1]
