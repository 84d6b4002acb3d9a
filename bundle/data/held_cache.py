"""Preprocessed scans that stay in the memory of a device, for random transforms there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bundle.data.cache import CachedDataset, key_of
from bundle.limits import memory_available


class HeldDataset(CachedDataset):
    """`CachedDataset` whose entries, once read, stay on a device: patches that are cut there wait for no disk and no bus.

    For data loaders that take their items in this process (`bundle.data.thread_loader.ThreadDataLoader`). MONAI's `CacheDataset` holds
    what it makes itself before the first epoch, in RAM, and makes all anew for data that grows.

    Args:
        device: where entries are held and random transforms begin.
        held_gb: most that is held, in GB of 10^9 bytes; None for half of what is free when the first entry is read. What is beyond it
            is read from disk each time.
        others: as `CachedDataset` takes them.
    """

    def __init__(self, *args: Any, device: torch.device | str, held_gb: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.device, self.held_gb = torch.device(device), held_gb
        self._held: dict[str, dict[str, Any]] = {}
        self._room: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Other processes hold nothing: they only write entries."""
        return {**self.__dict__, "_held": {}}

    def _cachecheck(self, item_transformed: Mapping) -> Any:
        key = key_of(item_transformed)
        if key not in self._held:
            entry = {name: self._moved(value) for name, value in super()._cachecheck(item_transformed).items()}
            if not self._takes(sum(value.nbytes for value in entry.values() if isinstance(value, torch.Tensor))):
                return entry
            self._held[key] = entry
        # a transform may write into what it is given
        return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in self._held[key].items()}

    def _moved(self, value: Any) -> Any:
        return value.to(self.device) if isinstance(value, torch.Tensor) else value

    def _takes(self, size: int) -> bool:
        """Whether there is room for an entry of so many bytes; if so it counts as taken."""
        if self._room is None:
            self._room = _free(self.device) / 2 if self.held_gb is None else self.held_gb * 1e9
        if size > self._room:
            return False
        self._room -= size
        return True


def _free(device: torch.device) -> int:
    """Bytes that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory_available()
