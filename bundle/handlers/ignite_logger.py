"""Ignite's loggers for tracking services (Weights & Biases, ClearML, Neptune, Visdom) as handlers, so that JSON can attach them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events

from bundle.errors import UserError


class IgniteLogger:
    """Logs an engine to one of `ignite.handlers`' loggers: the output of each iteration, or the metrics of each epoch.

    Args:
        logger: the logger; None logs nothing, as on processes that are not the first.
        tag: common name of the figures.
        output_transform: figure of an iteration from the engine's output; None logs no iterations.
        metric_names: metrics of an epoch, or "all"; None logs none.
        optimizer: whose learning rates are logged at the beginning of each epoch.
        after: the `IgniteLogger` of the trainer, whose iteration counts as the step; by default the engine's own.
        close: end the logger's run when the engine is done.

    Raises:
        UserError: at the first figure, where `after` is among the handlers of no engine.
    """

    def __init__(
        self,
        logger: Any,
        tag: str,
        *,
        output_transform: Callable | None = None,
        metric_names: str | Sequence[str] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        after: IgniteLogger | None = None,
        close: bool = False,
    ) -> None:
        self.logger, self.tag, self.output_transform, self.metric_names = logger, tag, output_transform, metric_names
        self.optimizer, self.after, self.close = optimizer, after or self, close
        self.engine: Engine | None = None

    def attach(self, engine: Engine) -> None:
        """Let the logger listen to an engine."""
        self.engine = engine
        if self.logger is None:
            return
        more = {"tag": self.tag, "global_step_transform": self._step}
        if self.output_transform is not None:
            self.logger.attach_output_handler(engine, Events.ITERATION_COMPLETED, output_transform=self.output_transform, **more)
        if self.metric_names is not None:
            self.logger.attach_output_handler(engine, Events.EPOCH_COMPLETED, metric_names=self.metric_names, **more)
        if self.optimizer is not None:
            self.logger.attach_opt_params_handler(engine, Events.ITERATION_STARTED, optimizer=self.optimizer)
        if self.close:
            engine.add_event_handler(Events.COMPLETED, self.logger.close)

    def _step(self, engine: Engine, event: Any) -> int:
        if self.after.engine is None:
            problem = f"the figures of {self.tag} count by the steps of {self.after.tag}, which is attached to no engine"
            raise UserError("IgniteLogger", problem, "put it among the trainer's handlers")
        return self.after.engine.state.iteration
