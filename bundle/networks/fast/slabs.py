"""Two convolutions in a row over a large volume, a slab of planes at a time: the same numbers, without the volume between them.

Features of a whole volume at the finest level take hundreds of megabytes, and each new tensor of them is memory that the
system hands out, and clears, page by page. Those of a slab stay in memory that the process holds already, and mostly in
the cache. Planes are those of the first spatial axis; convolutions are 3x3x3 with zero padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from bundle.networks.fast.convolve import convolve, feature_type
from bundle.networks.fast.switch import plain_wanted

# features of a slab at one stage: half of glibc's 32 MiB, from which on memory comes from the system anew each time
SLAB_BYTES = 16 * 2**20


def slab_planes(x: Tensor, channels: int, whole: int = 2) -> int:
    """How many planes at a time for features of so many channels on the grid of x (B, C, *spatial); 0 where all at once is as well.

    All at once is as well up to the bytes of so many slabs (`whole`).

    Slabs are for inference on a CPU: gradients need everything at once, and GPUs keep the memory of their tensors.
    """
    if x.device.type != "cpu" or x.dim() != 5 or torch.is_grad_enabled() or plain_wanted():
        return 0
    plane = x.shape[0] * channels * x.shape[3] * x.shape[4] * torch.finfo(feature_type(x)).bits // 8
    if plane * x.shape[2] <= whole * SLAB_BYTES:
        return 0
    return max(2, SLAB_BYTES // plane // 2 * 2)


def conv_planes(x: Tensor, start: int, stop: int, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """Planes start to stop (not included) of the convolution of x (B, C, *spatial), with a ReLU where that is asked for."""
    low, high = max(start - 1, 0), min(stop + 1, x.shape[2])
    slab = x.narrow(2, low, high - low)
    if low == start or high == stop:
        slab = F.pad(slab, [0, 0, 0, 0, low - start + 1, stop + 1 - high])
    return convolve(slab, weight, bias, [0, 1, 1], relu=relu)


def plane_ranges(depth: int, planes: int, ahead: int = 0) -> Iterator[tuple[int, int]]:
    """Start and stop of one slab after the other; the first has `ahead` planes more, what convolutions after it fall behind by."""
    start = 0
    while start < depth:
        stop = min(start + planes + (0 if start else ahead), depth)
        yield start, stop
        start = stop


def convolved(slabs: Iterable[Tensor], convolution: Callable[[Tensor], Tensor], depth: int) -> Iterator[Tensor]:
    """A convolution of features that come a slab at a time, as they come.

    What comes out falls one plane behind what went in: the first slab gives a plane less, the last one a plane more.

    Args:
        slabs: consecutive planes, (B, C, n, H, W), `depth` in all.
        convolution: without padding along the planes, so that n + 2 planes give n.
        depth: how many planes there are.
    """
    kept, seen = torch.empty(0), 0
    for new in slabs:
        zeros = torch.zeros_like(new[:, :, :1])
        before, seen = kept if seen else zeros, seen + new.shape[2]
        slab = torch.cat([before, new, *([zeros] if seen == depth else [])], dim=2)
        kept = slab[:, :, -2:].clone(memory_format=torch.channels_last_3d)
        # nothing is held here while others work on what came out: slabs that live side by side scatter memory
        done = [convolution(slab)]
        del new, before, slab
        yield done.pop()


def gathered(
    slabs: Iterable[Tensor], depth: int, out: Tensor | None = None, layout: torch.memory_format = torch.channels_last_3d
) -> Tensor:
    """Slabs put together: consecutive planes, (B, C, n, H, W), `depth` in all; in `out`, or a new tensor in this memory layout."""
    start = 0
    for slab in slabs:
        if out is None:
            size = (slab.shape[0], slab.shape[1], depth, *slab.shape[3:])
            out = torch.empty(size, dtype=slab.dtype, device=slab.device, memory_format=layout)
        out.narrow(2, start, slab.shape[2]).copy_(slab)
        start += slab.shape[2]
        del slab
    assert out is not None and start == depth
    return out


def by_slabs(
    first: Callable[[int, int], Tensor], second: Callable[[Tensor], Tensor], depth: int, planes: int, out: Tensor | None = None
) -> Tensor:
    """second(first), a slab at a time.

    Args:
        first: gives its planes start to stop, (B, C, stop - start, H, W); asked for in order, each plane once.
        second: a convolution without padding along the planes, so that n + 2 planes give n.
        depth: how many planes there are.
        planes: of a slab; at least 2.
        out: where the result goes, (B, channels, depth, H, W); it may be what `first` computes from, since
            planes are written when `first` was asked for all up to the one after. A new tensor by default.
    """
    slabs = (first(start, stop) for start, stop in plane_ranges(depth, planes))
    return gathered(convolved(slabs, second, depth), depth, out)
