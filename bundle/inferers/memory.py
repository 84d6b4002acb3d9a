"""How much of a volume the network may see at once, from a budget in GB."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch

# a network pass with less than this is slow: rather no overlap of the stages
LEAST_FOR_NETWORK = 1.5e9
# windows are cut in steps of the network's deepest pooling
STEP = 16


def free_bytes(memory_gb: float | None, device: torch.device) -> float:
    """Memory in bytes that the network may still take.

    Args:
        memory_gb: what the whole process may take (CPU), or the network (GPU), in GB of 10^9 bytes; None for half of what
            is free now.
        device: where the network runs.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return 0.8 * free if memory_gb is None else min(0.95 * free, memory_gb * 1e9)
    if memory_gb is None:
        return psutil.virtual_memory().available / 2
    return memory_gb * 1e9 - psutil.Process().memory_info().rss


def room_to_overlap(scan: torch.Tensor | None, memory_gb: float | None) -> bool:
    """Whether the next scan may be loaded, and the last one written, while the network works on this one.

    Args:
        scan: a scan like the next one; None where it could not be read.
        memory_gb: memory in GB for the whole process; None where there is no limit.
    """
    if memory_gb is None:
        return True
    # loading and writing hold a scan, its labels and a resampled copy
    needed = 3.0 * scan.numel() * scan.element_size() if scan is not None else 0.0
    return memory_gb * 1e9 - psutil.Process().memory_info().rss - needed > LEAST_FOR_NETWORK


def choose_window(shape: Sequence[int], roi_size: Sequence[int], voxels: int) -> tuple[int, ...]:
    """The whole shape where it holds at most `voxels` voxels, otherwise a window of at most `roi_size` that does.

    Args:
        shape: spatial sizes of the volume.
        roi_size: largest window.
        voxels: how many voxels fit into memory in one pass.

    Returns:
        The window's sizes; never below 2 x 16 along an axis that is longer, however small the budget.
    """
    if _count(shape) <= voxels:
        return tuple(int(n) for n in shape)
    window = [min(int(r), int(n)) for r, n in zip(roi_size, shape, strict=True)]
    while _count(window) > voxels and max(window) > 2 * STEP:
        longest = window.index(max(window))
        window[longest] = max(2 * STEP, (window[longest] - 1) // STEP * STEP)
    return tuple(window)


def _count(shape: Sequence[int]) -> int:
    count = 1
    for n in shape:
        count *= int(n)
    return count
