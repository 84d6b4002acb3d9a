"""Activation checkpointing: features inside a block are computed again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bundle.networks.small_convolutions import as_now


class Checkpointable(nn.Module):
    """A part of a network whose features may be computed again for the gradients instead of kept, where `checkpointing` is set."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.checkpointing = False

    @torch.jit.unused
    def saves_memory(self) -> bool:
        """Whether it is on and gradients will be asked for."""
        return self.checkpointing and torch.is_grad_enabled()


class Block(Checkpointable):
    """Convolutions of one level of a network."""

    def norms_before_relu(self) -> list[nn.Module]:
        """The batch norms whose outputs are added before the last ReLU."""
        raise NotImplementedError


def checkpointed(block: Checkpointable, *inputs: Tensor) -> Any:
    """The block's output; what it computes on the way is not kept, and computed a second time for the gradients.

    Batch norms learn their running statistics from the first pass alone, as without checkpointing.

    Args:
        block: its attribute `checkpointing` is off while this runs it.
        inputs: of the block.
    """

    def run(*inputs: Tensor) -> Any:
        block.checkpointing = False
        try:
            return block(*inputs)
        finally:
            block.checkpointing = True

    again = as_now()
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _second_pass(block, again)))


@contextmanager
def _second_pass(block: nn.Module, again: AbstractContextManager) -> Iterator[None]:
    """Number formats as in the first pass, statistics as they are."""
    with _statistics_kept(block), again:
        yield


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Batch norms of the block leave their running statistics as they are."""
    norms = [module for module in block.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [(norm, norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum = momentum
            if batches is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(batches)
