"""How much of a volume the network may see at once, from a budget in GB; and that it never sees too little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product
from math import ceil, prod

import psutil
import torch

from bundle import distributed, reader_process
from bundle.errors import UserError
from bundle.kept_memory import give_back
from bundle.limits import memory_available, memory_limit

# windows are cut in steps of the network's deepest pooling
STEP = 16
# voxels along an axis that a window has at least, where volume and roi_size are not smaller: with fewer the network does not see enough
# around a voxel to name it (docs/measurements/inference.md#how-small-a-window-may-be)
LEAST_WINDOW = 96
# a network pass with less than this is slow: rather no overlap of the stages
LEAST_FOR_NETWORK = 1.0e9
# what loading and writing take at once, in bytes for each byte of a scan: with it the budgets of benchmarks/inference.py are kept
BESIDE_THE_NETWORK = 6.0
# the share of a budget, or of what a GPU has free, that is planned with
SAFE = 0.95
# what the allocator and the convolutions' own buffers take on top, whatever the volume
FIXED = 0.15e9

# what Python takes with PyTorch, MONAI and this bundle
OWN = 0.5e9

_reserved: ContextVar[float] = ContextVar("_reserved", default=0.0)
_apart: ContextVar[float] = ContextVar("_apart", default=0.0)


@contextmanager
def reserved(bytes_: float) -> Iterator[None]:
    """Keep bytes free for what runs at the same time as the network, within the block and this thread."""
    token = _reserved.set(bytes_)
    try:
        yield
    finally:
        _reserved.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """What the process holds when the block begins, beyond what Python takes with PyTorch and MONAI, counts against no budget in it.

    It is the caller's: arrays in a notebook, results that were kept.
    """
    give_back()
    token = _apart.set(max(0.0, psutil.Process().memory_info().rss - OWN))
    try:
        yield
    finally:
        _apart.reset(token)


def free_bytes(memory_gb: float | None, device: torch.device, *, in_need: bool = False) -> float:
    """Memory in bytes that the network may still take.

    Args:
        memory_gb: what the whole process may take (CPU), or the network (GPU), in GB of 10^9 bytes; None for half of what
            is free now. On the CPU, more than the machine or the container has counts as what it has.
        device: where the network runs.
        in_need: for the least that the network needs: also what is kept free for loading and writing at the same time
            (`reserved`, of which a part may be in what the process holds by now), and without a budget all that is free.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (SAFE if in_need else 0.8) * free if memory_gb is None else min(SAFE * free, memory_gb * 1e9)
    give_back()
    if memory_gb is None:
        return memory_available() * (SAFE if in_need else 0.5) / distributed.local_size()
    return SAFE * _budget(memory_gb) - _taken() - FIXED - (0.0 if in_need else _reserved.get())


def require(needed: float, memory_gb: float | None, device: torch.device, what: str) -> None:
    """Refuse a volume for which there is too little memory.

    Args:
        needed: bytes that the network needs for it at least.
        memory_gb, device: as for `free_bytes`.
        what: the volume and its least windows, in words.

    Raises:
        UserError: says what `memory_gb` is, what the process holds already, and what it must be at least.
    """
    free = free_bytes(memory_gb, device, in_need=True)
    if needed <= free:
        return
    if device.type == "cuda":
        enough = needed <= free_bytes(None, device, in_need=True)
        problem = f"the GPU has {_gb(torch.cuda.mem_get_info(device)[0])} free, and the network needs {_gb(needed)} for {what}"
        problem = problem if memory_gb is None else f"{memory_gb:g} is too little: {problem}"
        raise UserError("memory_gb", problem, f"give {_up(needed)} or more" if enough else "use another GPU, or --device cpu")
    taken, more = _taken(), f"the network needs {_gb(needed + FIXED)} for {what}"
    elsewhere = "start fewer processes on this machine, end other programs, or take a machine with more memory"
    if memory_gb is None:
        problem = f"none is given, the process holds {_gb(taken)} already and has {_gb(free)} left of this machine, and {more}"
        raise UserError("memory_gb", problem, elsewhere)
    budget, least = _budget(memory_gb), (needed + taken + FIXED) / SAFE
    here = f" ({_gb(budget)} here, this process's share of the machine or container)" if budget < memory_gb * 1e9 else ""
    problem = f"{memory_gb:g}{here} is too little: the process holds {_gb(taken)} already, and {more}"
    possible = least <= memory_limit() / distributed.local_size()
    raise UserError("memory_gb", problem, f"give {_up(least)} or more" if possible else f"it takes {_up(least)} or more: {elsewhere}")


def _gb(bytes_: float) -> str:
    return f"{bytes_ / 1e9:.2f} GB"


def _up(bytes_: float) -> str:
    """GB, rounded up to a tenth."""
    return f"{ceil(bytes_ / 1e8) / 10:g}"


def _budget(memory_gb: float) -> float:
    # processes that torchrun started on this machine share its memory
    return min(memory_gb * 1e9, memory_limit() / distributed.local_size() - _apart.get())


def _taken() -> float:
    """Bytes that this process holds, but for what is set apart, and the one that reads for it."""
    return max(0.0, psutil.Process().memory_info().rss - _apart.get()) + reader_process.resident_bytes()


def beside_the_network(scan: torch.Tensor | None) -> float:
    """Memory in bytes that loading a scan like this one and writing the one before take at most."""
    return BESIDE_THE_NETWORK * scan.numel() * scan.element_size() if scan is not None else 0.0


def room_to_overlap(scan: torch.Tensor | None, memory_gb: float | None, least: float = 0.0) -> bool:
    """Whether the next scan may be loaded, and the last one written, while the network works on this one.

    Args:
        scan: a scan like the next one; None where it could not be read.
        memory_gb: memory in GB for the whole process; None where there is no limit.
        least: bytes that the network needs at least for this one.
    """
    if memory_gb is None:
        return True
    budget = _budget(memory_gb)
    return budget - _taken() - beside_the_network(scan) > max(LEAST_FOR_NETWORK, (1 - SAFE) * budget + FIXED + least)


def least_window(shape: Sequence[int], roi_size: Sequence[int]) -> tuple[int, ...]:
    """The smallest window that a volume may be cut into: 96 voxels along each axis, less where it or the roi has less."""
    return tuple(min(int(n), int(r), LEAST_WINDOW) for n, r in zip(shape, roi_size, strict=True))


def choose_window(shape: Sequence[int], roi_size: Sequence[int], voxels: int, overlap: float = 0.25) -> tuple[int, ...] | None:
    """The whole shape where it holds at most `voxels` voxels, otherwise the window that fits and costs least work in all.

    Args:
        shape: spatial sizes of the volume.
        roi_size: what a window should hold at least (the network was trained with it); smaller ones, down to `least_window`, only if
            none fits.
        voxels: how many voxels fit into memory in one pass.
        overlap: share of a window that it has in common with its neighbour.

    Returns:
        The window's sizes; None if not even `least_window` fits.
    """
    if prod(shape) <= voxels:
        return tuple(int(n) for n in shape)
    sizes = zip(shape, roi_size, least_window(shape, roi_size), strict=True)
    candidates = [_windows(int(n), int(r), least, overlap) for n, r, least in sizes]
    best: tuple[tuple[int, int], tuple[int, ...]] | None = None
    for window in product(*candidates):
        if prod(window) <= voxels:
            # how far below the patch: thin windows are little work, and see too little around a voxel
            levels = [tuple(roi_size), (96, 96, 96), (64, 64, 64), (48, 48, 48)]
            narrow = sum(any(w < min(r, n) for w, r, n in zip(window, level, shape, strict=True)) for level in levels)
            work = prod(window) * prod(_count(int(n), w, overlap) for n, w in zip(shape, window, strict=True))
            if best is None or (narrow, work) < best[0]:
                best = (narrow, work), window
    return best[1] if best else None


def _windows(length: int, patch: int, least: int, overlap: float) -> list[int]:
    """Sizes of windows for an axis: the patch, the least, and those that cover it evenly with one, two, three, ... of them."""
    sizes = {length, min(patch, length), least}
    for parts in range(2, 17):
        size = ceil(length / (parts - (parts - 1) * overlap) / STEP) * STEP
        if least <= size < length:
            sizes.add(size)
    return sorted(sizes, reverse=True)


def _count(length: int, window: int, overlap: float) -> int:
    """How many windows MONAI's sliding window takes along an axis."""
    if window >= length:
        return 1
    step = max(1, int(window * (1 - overlap)))
    return ceil((length - window) / step) + 1
