"""Memory that a training step frees stays for the next one, as long as the machine has enough."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.distributed import local_size
from bundle.kept_memory import keep_memory, stop_keeping
from bundle.limits import memory_limit


class FreedMemory:
    """Keeps freed memory while a training on a CPU runs, and gives it back for good once that takes too much.

    Each step makes and frees the same tensors, and new pages for them are a seventh of its time. The process grows to about 1.6 times the
    peak of a step: in the first steps it finds out what fits where.

    Args:
        device: of the training; on a GPU nothing is kept, since its memory is not the C library's.
        share: of the memory that this machine or container has, and of several processes of torchrun each its part: a process that
            holds more than this after a step gives back what is free, and keeps nothing any more.
        network: what is trained; nothing is kept for one with `checkpointing`, which gives time for memory already.
    """

    def __init__(self, device: str | torch.device, share: float = 0.5, network: nn.Module | None = None) -> None:
        self.share = share
        self.keeps = torch.device(device).type == "cpu" and not getattr(network, "checkpointing", False)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its run."""
        if self.keeps:
            engine.add_event_handler(Events.STARTED, self.started)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.stepped)
            engine.add_event_handler(Events.COMPLETED, self.completed)

    def started(self, engine: Engine) -> None:
        """Begin to keep."""
        keep_memory()

    def stepped(self, engine: Engine) -> None:
        """Stop where this process has become too large."""
        if psutil.Process().memory_info().rss > self.share * memory_limit() / local_size():
            stop_keeping()

    def completed(self, engine: Any) -> None:
        """Give all back: the process may go on, as that of MONAI Label's server does."""
        stop_keeping()
