"""Weights of a training that never was validated."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.distributed import unwrapped
from bundle.handlers.training.checkpoint import CheckpointSaver


class SaveUnvalidated:
    """Saves the last weights where the best would be saved, if the whole training had no validation.

    Two or three labelled scans in MONAI Label leave no validation case: MONAI's `CheckpointSaver` then saves nothing, and a training
    that succeeded changes nothing.

    Args:
        saver: `bundle.handlers.CheckpointSaver` of the best weights; its file name, folder and copy of the original count.
        evaluator: engine of the validation; its best metric shows whether there was one.
    """

    def __init__(self, saver: CheckpointSaver, evaluator: Engine) -> None:
        self.saver, self.evaluator = saver, evaluator

    def attach(self, engine: Engine) -> None:
        """Look when the training is complete."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save, unless there was a validation. On several GPUs every process calls this, the first one writes."""
        # what MONAI's evaluator starts with, and keeps until its first key metric
        state: Any = self.evaluator.state
        if state.best_metric_epoch != -1 or idist.get_rank() != 0:
            return
        self.saver.save_best(weights(self.saver.save_dict))
        self.saver.logger.info("no validation in this training: its last weights are saved as they are")


def weights(objects: dict[str, Any]) -> dict[str, Any]:
    """The state of each object, without the wrapper that several GPUs put around a network; of a single one as it is, as Ignite does."""
    states = {key: unwrapped(thing).state_dict() for key, thing in objects.items()}
    return next(iter(states.values())) if len(states) == 1 else states
