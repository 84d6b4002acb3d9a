"""Volumes of any size through networks that take some sizes only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from bundle.distributed import unwrapped
from bundle.networks.blocks import crop
from bundle.networks.blocks import pad_to_multiple as repeat_last

# what the networks of MONAI halve a grid by, in all; and what leaves their norms more than one voxel at the bottom
STEP, LEAST = 32, 64
# voxels: axes below SHORT are those of slabs, whose organs lie by an end of the scan, where convolutions see zeros, which are soft
# tissue here; MARGIN voxels beyond each end keep them from it (docs/measurements/inference.md)
SHORT, MARGIN = 64, 6
# classes of networks that do not say how many they have
CLASSES = 4


def fitted(network: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """What a network gives for x, whose last voxels are repeated to a size that it takes; the output is cut to the size of x.

    This bundle's networks (modules that have the attribute `multiple`) do so themselves. Any other module that halves its grid gets
    multiples of 32, at least 64; modules of one size only (attribute `window`), modules that never change the grid and functions get x.

    Args:
        network: a module or function from (B, C, *spatial) to (B, K, *spatial), or to a list of those.
        x: (B, C, *spatial).
    """
    if not _needs_steps(network):
        return network(x, *args, **kwargs)
    size = list(x.shape[2:])
    padding = [side for n in reversed(size) for side in (0, max(0, LEAST - n))]
    padded = nn.functional.pad(x, padding, mode="replicate") if any(padding) else x
    memory = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim(), torch.contiguous_format)
    out = network(repeat_last(padded, STEP).contiguous(memory_format=memory), *args, **kwargs)
    return [crop(item, size) for item in out] if isinstance(out, (list, tuple)) else crop(out, size)


def sides(network: Callable[..., Any], size: Sequence[int], least: int) -> list[tuple[int, int]]:
    """How many voxels to repeat before and behind a volume along each axis, for a network to find what lies by its ends.

    Axes below `SHORT` get `MARGIN` or more on both sides, up to the multiple that the network takes anyway; longer ones get none, and
    neither do networks that never halve the grid, but for `least`, nor those of one size, whose windows are larger than the volume.

    Args:
        network: as for `fitted`.
        size: spatial sizes of the volume.
        least: voxels that every axis is to have.
    """
    own = getattr(_module(network), "multiple", None)
    if window_of(network) is not None or not (own or halves(network)):
        return [_both(n, least) for n in size]
    step, floor = (own, least) if own else (STEP, LEAST)
    return [_both(n, max(floor, ceil((n + 2 * MARGIN) / step) * step) if n < SHORT else n) for n in size]


def _both(size: int, wanted: int) -> tuple[int, int]:
    """The voxels from a size to a larger one, half of them before; none for a smaller one."""
    more = max(0, wanted - size)
    return more // 2, more - more // 2


def window_of(network: Callable[..., Any]) -> tuple[int, ...] | None:
    """The only spatial size that a network takes, where there is such."""
    window = getattr(_module(network), "window", None)
    return None if window is None else tuple(int(n) for n in window)


def classes_of(network: Callable[..., Any]) -> int:
    """How many channels a network gives, where it says it (attribute `out_channels`); otherwise `CLASSES`."""
    return int(getattr(_module(network), "out_channels", CLASSES))


def halves(network: Callable[..., Any]) -> bool:
    """Whether a module has layers that make the grid coarser: convolutions or pooling in steps of more than one voxel."""
    module = _module(network)
    layers = module.modules() if isinstance(module, nn.Module) else ()
    return any(max(_sizes(getattr(layer, "stride", 1))) > 1 for layer in layers)


def _needs_steps(network: Callable[..., Any]) -> bool:
    module = _module(network)
    return not hasattr(module, "multiple") and not hasattr(module, "window") and halves(network)


def _module(network: Callable[..., Any]) -> Any:
    return unwrapped(network) if isinstance(network, nn.Module) else network


def _sizes(stride: Any) -> tuple[int, ...]:
    if isinstance(stride, int):
        return (stride,)
    known = isinstance(stride, (tuple, list)) and stride and all(isinstance(n, int) for n in stride)
    return tuple(stride) if known else (1,)
