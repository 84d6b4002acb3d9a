"""Batch norms of one value per channel are found before the first step."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.transforms import Compose, RandFlipd
from torch import nn
from torch.utils.data import DataLoader

from bundle.errors import UserError
from bundle.handlers import BatchNorms
from bundle.handlers.training.batch_norms import patch_of, smallest_batch
from bundle.transforms import RandCropAffined


class Cases(list):
    """A data set with the transforms of a training."""

    def __init__(self, count: int, patch: int) -> None:
        super().__init__(range(count))
        crop = RandCropAffined(("image",), (patch, 4, 4), mode=("bilinear",), prob=0.0, rotate_degrees=0, shift=0, scale=(1, 1))
        self.transform = Compose([crop, RandFlipd("image")])


def network() -> nn.Module:
    """A pooling that leaves one voxel of a patch of 4, and two of one of 8 x 4 x 4."""
    return nn.Sequential(nn.Conv3d(1, 2, 1), nn.MaxPool3d(4), nn.Dropout(0.5), nn.BatchNorm3d(2))


def started(count: int, batch: int, patch: int, norm: nn.Module | None = None, **loading: bool) -> list:
    steps = []
    engine = Engine(lambda engine, item: steps.append(item))
    trained = network() if norm is None else norm
    BatchNorms(trained).attach(engine)
    engine.run(DataLoader(Cases(count, patch), batch_size=batch, **loading))
    return steps


@pytest.mark.parametrize(("count", "batch"), [(1, 2), (3, 2), (2, 1), (5, 4)])
def test_a_single_patch_that_becomes_one_voxel_is_refused_before_the_first_step(count: int, batch: int) -> None:
    with pytest.raises(UserError, match=r"^patch_size, batch_size: a batch norm .* Fix: give a larger patch_size"):
        started(count, batch, 4)
    assert len(started(count, batch, 8)) == -(-count // batch), "two voxels are enough"


def test_two_cases_no_last_batch_or_another_norm_are_enough() -> None:
    assert len(started(4, 2, 4)) == 2 and len(started(3, 2, 4, drop_last=True)) == 1
    assert len(started(3, 2, 4, nn.Sequential(nn.Conv3d(1, 2, 1), nn.MaxPool3d(4), nn.InstanceNorm3d(2)))) == 2


def test_trying_changes_neither_the_network_nor_what_is_drawn() -> None:
    tried = network().eval()
    before = {name: value.clone() for name, value in tried.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    started(3, 2, 8, tried, drop_last=False)
    # the loader draws a seed of its own, with or without the handler
    assert all(torch.equal(value, before[name]) for name, value in tried.state_dict().items()) and not tried.training
    torch.manual_seed(3)
    engine = Engine(lambda engine, item: None)
    BatchNorms(tried).started(SimpleNamespace(state=SimpleNamespace(dataloader=DataLoader(Cases(3, 8), batch_size=2))))
    assert torch.equal(torch.rand(4), expected) and engine.state.iteration == 0


def test_what_cannot_be_known_is_left_to_the_training() -> None:
    assert smallest_batch([1, 2]) is None and patch_of([1, 2]) is None
    twice = Cases(3, 4)
    twice.transform = Compose([*twice.transform.transforms, *twice.transform.transforms])
    assert patch_of(DataLoader(twice)) is None and patch_of(DataLoader(Cases(3, 4))) == (4, 4, 4)
    assert [smallest_batch(DataLoader(Cases(count, 4), batch_size=3)) for count in (3, 4, 5, 2)] == [3, 1, 2, 2]
