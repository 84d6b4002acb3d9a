"""The one switch between the fast ways of this package and plain layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# how many `plain_layers` contexts are open, for all threads: gradients are computed in threads of autograd's own
_open = [0]


@contextmanager
def plain_layers() -> Iterator[None]:
    """A context in which networks compute by PyTorch's plain layers, as published: same output up to rounding, slower.

    For reading, debugging and comparing. It holds for all threads of the process, also for gradients taken inside it. Batch norms that
    `fold_batch_norm` has folded stay folded, since that changes the weights: give the network from before.
    """
    _open[0] += 1
    try:
        yield
    finally:
        _open[0] -= 1


def switched_off() -> bool:
    """Whether a `plain_layers` context is open."""
    return _open[0] > 0


def plain_wanted() -> bool:
    """Whether plain layers are to be used: in `plain_layers`, and while tracing, exporting or compiling, which do better with them."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return True
    if not torch.jit.is_scripting():
        return switched_off()
    return False
