"""Scans that are preprocessed before the epoch that needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch.utils.data import DataLoader, Dataset

from bundle.data.cache import CachedDataset


class CacheAhead:
    """Preprocesses, at the start of each epoch, the cases that the cache does not hold yet, in several processes, with a bar.

    For a data loader that takes its items in the process of the training, as random transforms on a GPU ask for: by itself it would
    preprocess one scan after another while the GPU waits. In a training of several processes each makes its share; what another one has
    not made yet is made where it is needed. Without a cache, or room in it, it does nothing.

    Args:
        dataset: the training's data set; attach after what adds cases to it.
        num_workers: processes; with 0 it does nothing.
    """

    def __init__(self, dataset: CachedDataset, num_workers: int) -> None:
        self.dataset, self.num_workers = dataset, int(num_workers)

    def attach(self, engine: Engine) -> None:
        """Look for cases without an entry before each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        from tqdm import tqdm

        if not self.dataset.writes:
            return
        paths = [self.dataset.entry(item) for item in self.dataset.data]
        missing = [item for item, path in zip(self.dataset.data, paths, strict=True) if path is not None and not path.is_file()]
        mine = missing[idist.get_rank() :: idist.get_world_size()]
        if not mine or not self.num_workers:
            return
        # a generator of its own: the order of the epoch must not depend on what the cache held
        workers = min(self.num_workers, len(mine))
        loader = DataLoader(_Entries(self.dataset, mine), batch_size=None, num_workers=workers, generator=torch.Generator())
        for _ in tqdm(loader, desc="preprocessing", unit="scan", disable=idist.get_rank() > 0):
            pass


class _Entries(Dataset):
    """Writes an entry for each item that is taken."""

    def __init__(self, dataset: CachedDataset, items: Sequence[Mapping]) -> None:
        self.dataset, self.items = dataset, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        if self.dataset.writes:
            self.dataset.write_entry(self.items[index])
        return index
