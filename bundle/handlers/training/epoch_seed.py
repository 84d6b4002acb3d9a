"""Randomness as a function of the seed and the epoch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events


class EpochSeed:
    """Seeds every random generator at the start of each epoch, so that a resumed training draws what a whole one would.

    Reached: Python, NumPy, torch (CPU and GPU: dropout, the order of the samples), and the data set's random transforms
    through `set_epoch` (`bundle.data.CachedDataset`). MONAI's `set_determinism` seeds once, at the start of a process.

    Args:
        seed: any whole number from 0; None leaves every generator alone.
        dataset: has `set_epoch(epoch)`.
    """

    def __init__(self, seed: int | None, dataset: Any = None) -> None:
        self.seed, self.dataset = seed, dataset

    def attach(self, engine: Engine) -> None:
        """Seed before the epoch's first batch is drawn."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(engine.state.epoch)
        if self.seed is None:
            return
        # not seed + epoch: run 1's second epoch would be run 2's first
        state = int(np.random.SeedSequence([self.seed, engine.state.epoch]).generate_state(1)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)
