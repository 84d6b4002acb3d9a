"""A training whose batch norms would get one value to normalise ends before its first step."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.conv import _ConvNd

from bundle.arguments.mistakes import ONE_VALUE, one_value
from bundle.distributed import unwrapped
from bundle.transforms import RandCropAffined

# voxels of the largest patch that is tried; of larger ones a norm has more than one value, unless seven levels lie below it
MOST_VOXELS = 64**3


class BatchNorms:
    """Tries the smallest batch of an epoch where it is a single patch: PyTorch refuses batch norms of one value per channel.

    A patch of 16 voxels is one voxel after four poolings. Where batches have several cases, the last one of an epoch has what is
    left: an error that comes at the end of the first epoch. Where the patches are not those of `RandCropAffined`, nothing is tried.

    Args:
        network: what is trained, wrapped or not.

    Raises:
        UserError: with the sizes to change.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer, before its run."""
        engine.add_event_handler(Events.STARTED, self.started)

    def started(self, engine: Engine) -> None:
        """Look at the sizes of batch and patch."""
        patch = patch_of(engine.state.dataloader)
        if patch is None or smallest_batch(engine.state.dataloader) != 1 or math.prod(patch) > MOST_VOXELS:
            return
        network = unwrapped(self.network)
        if not any(type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) for module in network.modules()):
            return
        channels = next((module.in_channels for module in network.modules() if isinstance(module, _ConvNd)), 1)
        tried = copy.deepcopy(network).to("cpu").train()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            try:
                tried(torch.zeros(1, channels, *patch))
            except ValueError as error:
                if ONE_VALUE in str(error):
                    raise one_value() from error
            except Exception:  # whatever else is wrong is said where it happens
                return


def smallest_batch(loader: Any) -> int | None:
    """Cases of the smallest batch of an epoch; None where it cannot be known."""
    try:
        cases, size = len(loader.sampler), int(loader.batch_size)
    except (AttributeError, TypeError, ValueError):
        return None
    return size if loader.drop_last else cases % size or size


def patch_of(loader: Any) -> Sequence[int] | None:
    """Size of the patches that a loader's random transforms cut out; None where others than `RandCropAffined` do."""
    transform = getattr(getattr(loader, "dataset", None), "transform", None)
    cropping = [part for part in getattr(transform, "transforms", ()) if isinstance(part, RandCropAffined)]
    return cropping[-1].spatial_size if len(cropping) == 1 else None
