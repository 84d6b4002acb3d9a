"""Randomness as a function of seed and epoch."""

import random

import numpy as np
import torch
from ignite.engine import Engine

from bundle.handlers import EpochSeed


def draws(seed, epoch, dataset=None):
    engine = Engine(lambda engine, batch: None)
    engine.state.epoch = epoch
    EpochSeed(seed, dataset)(engine)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_same_seed_and_epoch_give_the_same_numbers_and_others_do_not():
    first = draws(0, 3)
    draws(0, 4)
    assert draws(0, 3) == first
    for other in (draws(0, 4), draws(1, 3), draws(1, 2)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_dataset_is_told_the_epoch_also_without_a_seed():
    class Dataset:
        def set_epoch(self, epoch):
            self.epoch = epoch

    dataset = Dataset()
    torch.manual_seed(5)
    expected = torch.rand(())
    torch.manual_seed(5)
    assert draws(None, 7, dataset)[2] == float(expected)
    assert dataset.epoch == 7
