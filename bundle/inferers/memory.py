"""How much of a volume the network may see at once, from a budget in GB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product
from math import ceil, prod

import psutil
import torch

from bundle import distributed, reader_process
from bundle.kept_memory import give_back
from bundle.limits import memory_available, memory_limit

# windows are cut in steps of the network's deepest pooling
STEP = 16
# a network pass with less than this is slow: rather no overlap of the stages
LEAST_FOR_NETWORK = 1.0e9
# what loading and writing take at once, in bytes for each byte of a scan: with it the budgets of benchmarks/inference.py are kept
BESIDE_THE_NETWORK = 6.0
# what the allocator and the convolutions' own buffers take on top, whatever the volume
FIXED = 0.15e9

_reserved: ContextVar[float] = ContextVar("_reserved", default=0.0)


@contextmanager
def reserved(bytes_: float) -> Iterator[None]:
    """Keep bytes free for what runs at the same time as the network, within the block and this thread."""
    token = _reserved.set(bytes_)
    try:
        yield
    finally:
        _reserved.reset(token)


def free_bytes(memory_gb: float | None, device: torch.device) -> float:
    """Memory in bytes that the network may still take.

    Args:
        memory_gb: what the whole process may take (CPU), or the network (GPU), in GB of 10^9 bytes; None for half of what
            is free now. On the CPU, more than the machine or the container has counts as what it has.
        device: where the network runs.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return 0.8 * free if memory_gb is None else min(0.95 * free, memory_gb * 1e9)
    give_back()
    if memory_gb is None:
        return memory_available() / 2 / distributed.local_size()
    return 0.95 * _budget(memory_gb) - _taken() - FIXED - _reserved.get()


def _budget(memory_gb: float) -> float:
    # processes that torchrun started on this machine share its memory
    return min(memory_gb * 1e9, memory_limit() / distributed.local_size())


def _taken() -> int:
    """Bytes that this process holds, and the one that reads for it."""
    return psutil.Process().memory_info().rss + reader_process.resident_bytes()


def beside_the_network(scan: torch.Tensor | None) -> float:
    """Memory in bytes that loading a scan like this one and writing the one before take at most."""
    return BESIDE_THE_NETWORK * scan.numel() * scan.element_size() if scan is not None else 0.0


def room_to_overlap(scan: torch.Tensor | None, memory_gb: float | None) -> bool:
    """Whether the next scan may be loaded, and the last one written, while the network works on this one.

    Args:
        scan: a scan like the next one; None where it could not be read.
        memory_gb: memory in GB for the whole process; None where there is no limit.
    """
    if memory_gb is None:
        return True
    return _budget(memory_gb) - _taken() - beside_the_network(scan) > LEAST_FOR_NETWORK


def choose_window(shape: Sequence[int], roi_size: Sequence[int], voxels: int, overlap: float = 0.25) -> tuple[int, ...]:
    """The whole shape where it holds at most `voxels` voxels, otherwise the window that fits and costs least work in all.

    Args:
        shape: spatial sizes of the volume.
        roi_size: what a window should hold at least (the network was trained with it); smaller ones only if none fits.
        voxels: how many voxels fit into memory in one pass.
        overlap: share of a window that it has in common with its neighbour.

    Returns:
        The window's sizes; 32 voxels along each longer axis if nothing fits.
    """
    if prod(shape) <= voxels:
        return tuple(int(n) for n in shape)
    candidates = [_windows(int(n), int(r), overlap) for n, r in zip(shape, roi_size, strict=True)]
    best: tuple[tuple[int, int], tuple[int, ...]] | None = None
    for window in product(*candidates):
        if prod(window) <= voxels:
            # how far below the patch: thin windows are little work, and see too little around a voxel
            levels = [tuple(roi_size), (96, 96, 96), (64, 64, 64), (48, 48, 48)]
            narrow = sum(any(w < min(r, n) for w, r, n in zip(window, level, shape, strict=True)) for level in levels)
            work = prod(window) * prod(_count(int(n), w, overlap) for n, w in zip(shape, window, strict=True))
            if best is None or (narrow, work) < best[0]:
                best = (narrow, work), window
    return best[1] if best else tuple(min(int(n), 2 * STEP) for n in shape)


def _windows(length: int, patch: int, overlap: float) -> list[int]:
    """Sizes of windows for an axis: the patch, and those that cover it evenly with one, two, three, ... of them."""
    sizes = {length, min(patch, length)}
    for parts in range(2, 17):
        size = ceil(length / (parts - (parts - 1) * overlap) / STEP) * STEP
        if 2 * STEP <= size < length:
            sizes.add(size)
    return sorted(sizes, reverse=True)


def _count(length: int, window: int, overlap: float) -> int:
    """How many windows MONAI's sliding window takes along an axis."""
    if window >= length:
        return 1
    step = max(1, int(window * (1 - overlap)))
    return ceil((length - window) / step) + 1
