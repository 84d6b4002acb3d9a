"""Several processes: which one this is, joining and leaving them in training, and the network without the wrapper that they need."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def rank() -> int:
    """The number of this process among all, as torchrun sets it; 0 without torchrun. Known before the processes have joined."""
    return int(os.environ.get("RANK", 0))


def size() -> int:
    """How many processes torchrun started on all machines; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_size() -> int:
    """How many processes torchrun started on this machine, which they share; 1 without torchrun."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def join(device: torch.device | str) -> None:
    """Join the processes that torchrun started: by NCCL where there is a GPU, by Gloo on the CPU. Joined already: nothing happens.

    Args:
        device: the device of this process.
    """
    # what is imported once there is a group keeps it as the default of its functions, and leave() could not end it
    import ignite.distributed  # noqa: F401
    import torch.distributed.nn.functional

    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        store, rank, size = next(torch.distributed.rendezvous("env://"))
        torch.distributed.init_process_group(
            backend="nccl" if device.type == "cuda" else "gloo", store=met(store, rank, size), rank=rank, world_size=size
        )


def met(store: torch.distributed.Store, rank: int, size: int, timeout: float = 1800, interval: float = 0.05) -> torch.distributed.Store:
    """The part of a store that only the processes of this start use, once all of them are there.

    After a restart torchrun's processes share the store of the earlier start, with the addresses of the processes that are gone:
    who comes first would wait for one of those. So each process writes a word that it makes up, and goes on once every process has
    seen the same words.

    Args:
        store: as `torch.distributed.rendezvous` gives it.
        rank: which process this is.
        size: how many there are.
        timeout: seconds to wait for the others.
        interval: seconds between two looks.

    Raises:
        TimeoutError: the others did not come.
    """
    import torch.distributed

    words, seen = ([f"bundle/{name}/{other}" for other in range(size)] for name in ("word", "seen"))
    store.set(words[rank], uuid.uuid4().hex)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if store.check(words):
            found = b" ".join(store.get(word) for word in words)
            store.set(seen[rank], found.decode())
            if store.check(seen) and all(store.get(other) == found for other in seen):
                return torch.distributed.PrefixStore(str(uuid.uuid5(uuid.NAMESPACE_OID, found.decode())), store)
        time.sleep(interval)
    raise TimeoutError(f"process {rank} of {size} waited {timeout:g} s for the others: was each of them started, and are they in reach?")


def leave(network: Any = None) -> None:
    """Leave the processes that `join` joined.

    Gloo's threads end with the last reference to the group. One that still runs when Python ends, and then wants to free a tensor,
    aborts a process whose work is done; so what DistributedDataParallel holds of the group goes first.

    Args:
        network: as trained; it can't be trained further afterwards if it is wrapped in DistributedDataParallel.
    """
    import ignite.distributed as idist
    import torch.distributed

    for held in ("logger", "reducer", "process_group"):
        if isinstance(network, torch.nn.parallel.DistributedDataParallel) and hasattr(network, held):
            delattr(network, held)
    idist.finalize()  # Ignite would go on asking the group that is left
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def close(writer: Any) -> None:
    """Close what only the first process has; on the others it is None."""
    if writer is not None:
        writer.close()


def more_than(items: Sized) -> bool:
    """Whether there are more processes than items: some of them would have nothing to do."""
    import torch.distributed

    return torch.distributed.get_world_size() > len(items)


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, without the wrapper that training in several processes puts around it."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    return network.module if isinstance(network, (DataParallel, DistributedDataParallel)) else network
