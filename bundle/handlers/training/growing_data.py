"""A data set that grows while it is trained on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Sized
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.errors import UserError, counted


class GrowingData:
    """Takes up, at the start of each epoch, the cases that were written since the last one; that epoch gets longer by them.

    For data that is made while it is trained on (`python -m bundle synthesise`). MONAI's datasets are filled once.

    Args:
        dataset: has `data` and `set_data(cases)` (`bundle.data.CachedDataset`).
        cases: gives all cases to train on that exist now; fewer than before, or an error while listing them, change nothing.
        held_out: data sets whose cases are never taken up: in a data set without sections of its own, each new case moves the folds.

    Raises:
        UserError: in a training of several processes.
    """

    def __init__(self, dataset: Any, cases: Callable[[], Sequence], held_out: Sequence[Any] = ()) -> None:
        if idist.get_world_size() > 1:
            problem = "data that grows is for a training in one process: several would see different cases"
            raise UserError("grow", problem, "wait until the data set is complete, then give --grow false")
        self.dataset, self.cases, self.held_out = dataset, cases, held_out
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """Look for new cases before each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        try:
            found = self.cases()
        except (ValueError, OSError) as error:  # a list that is being replaced: what there is will do for one more epoch
            self.logger.warning(f"no new cases are taken up in this epoch: {error}")
            return
        held_out = {repr(case) for dataset in self.held_out for case in dataset.data}
        found = [case for case in found if repr(case) not in held_out]
        more = len(found) - len(self.dataset.data)
        if more <= 0:
            return
        self.dataset.set_data(found)
        loader = engine.state.dataloader
        assert isinstance(loader, Sized)
        engine.set_data(loader)  # or the iterator of the last epoch would draw what is over
        # Ignite ends the training when the iterations are those of `max_epochs` epochs of this length
        engine.state.epoch_length = len(loader)
        engine.state.iteration = (engine.state.epoch - 1) * engine.state.epoch_length
        self.logger.info(f"epoch {engine.state.epoch}: {counted(more, 'new case')}, {len(found)} in all")
