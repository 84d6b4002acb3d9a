"""Ignite's loggers as handlers: what is logged when, with which step. A logger of lists stands for a service."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger, BaseOptimizerParamsHandler, BaseOutputHandler

from bundle.errors import UserError
from bundle.handlers.ignite_logger import IgniteLogger


class Output(BaseOutputHandler):
    def __call__(self, engine, logger, event_name):
        step = self.global_step_transform(engine, event_name)
        logger.lines += [(step, name, value) for name, value in self._setup_output_metrics_state_attrs(engine, key_tuple=False).items()]


class Rates(BaseOptimizerParamsHandler):
    def __call__(self, engine, logger, event_name):
        logger.lines += [(engine.state.iteration, self.param_name, group[self.param_name]) for group in self.optimizer.param_groups]


class Lists(BaseLogger):
    """One of Ignite's loggers, to a list of (step, name, value)."""

    def __init__(self) -> None:
        self.lines, self.closed = [], 0

    def _create_output_handler(self, *args, **kwargs):
        return Output(*args, **kwargs)

    def _create_opt_params_handler(self, *args, **kwargs):
        return Rates(*args, **kwargs)

    def close(self) -> None:
        self.closed += 1


def trainer() -> Engine:
    return Engine(lambda engine, batch: batch * 10)


def test_the_output_of_each_iteration_and_the_end():
    logger, engine = Lists(), trainer()
    IgniteLogger(logger, "training", output_transform=lambda output: {"loss": output}, close=True).attach(engine)
    engine.run([1, 2], max_epochs=2)
    assert logger.lines == [(n, "training/loss", value) for n, value in enumerate((10, 20, 10, 20), start=1)]
    assert logger.closed == 1


def test_steps_of_a_trainer_that_is_not_listened_to():
    logger, evaluator = Lists(), trainer()
    IgniteLogger(logger, "validation", metric_names=["dice"], after=IgniteLogger(logger, "training")).attach(evaluator)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda one: one.state.metrics.update(dice=0.5))
    with pytest.raises(UserError, match=r"validation count by the steps of training, .* put it among the trainer's handlers"):
        evaluator.run([1])


def test_metrics_of_an_epoch_count_by_the_trainers_iterations():
    logger, engine, evaluator = Lists(), trainer(), trainer()
    training = IgniteLogger(logger, "training")
    training.attach(engine)
    IgniteLogger(logger, "validation", metric_names=["dice"], after=training).attach(evaluator)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda one: one.state.metrics.update(dice=0.5, other=1.0))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run([1]))
    engine.run([1, 2, 3], max_epochs=2)
    assert logger.lines == [(3, "validation/dice", 0.5), (6, "validation/dice", 0.5)] and logger.closed == 0


def test_learning_rates_and_no_logger_at_all():
    logger, engine = Lists(), trainer()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.25)
    IgniteLogger(logger, "training", optimizer=optimizer).attach(engine)
    IgniteLogger(None, "training", output_transform=lambda output: 1 / 0, optimizer=optimizer, close=True).attach(engine)
    engine.run([1], max_epochs=1)
    assert logger.lines == [(1, "lr", 0.25)]
