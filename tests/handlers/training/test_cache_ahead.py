"""CacheAhead: entries are there before the epoch that reads them, those of cases that came in the meantime as well."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose, Transform

from bundle.data.cache import CachedDataset
from bundle.handlers import CacheAhead


class Load(Transform):
    """The number in a text file; notes the process that read it."""

    def __call__(self, item: dict) -> dict:
        path = Path(item["image"])
        path.with_suffix(".read").write_text(str(os.getpid()))
        return {"image": torch.full((1, 2, 2, 2), float(path.read_text()))}


@pytest.fixture
def items(tmp_path: Path) -> list[dict]:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(str(number))
    return [{"image": str(tmp_path / f"{number}.txt")} for number in range(4)]


def readers(items: list[dict]) -> list[int]:
    """Processes that read the items, 0 for one that nobody has read."""
    files = [Path(item["image"]).with_suffix(".read") for item in items]
    return [int(file.read_text()) if file.exists() else 0 for file in files]


def test_other_processes_write_what_is_missing(items: list[dict], tmp_path: Path) -> None:
    dataset = CachedDataset(items[:3], Compose([Load()]), tmp_path / "cache")
    dataset.write_entry(items[1])
    seen: list[list[int]] = []

    def step(engine: Engine, batch: int) -> None:
        seen.append(readers(items))
        assert [float(dataset[index]["image"].mean()) for index in range(len(dataset.data))] == list(range(len(dataset.data)))

    engine = Engine(step)
    # as GrowingData does, before CacheAhead
    engine.add_event_handler(Events.EPOCH_STARTED, lambda engine: dataset.set_data(items[: 2 + engine.state.epoch]))
    CacheAhead(dataset, 2).attach(engine)
    state = torch.random.get_rng_state()
    engine.run([0], max_epochs=2)
    assert torch.equal(torch.random.get_rng_state(), state)  # the order of the scans does not depend on what was cached
    first, second = seen
    assert first[1] == os.getpid() and first[3] == 0
    assert all(reader not in (0, os.getpid()) for reader in (first[0], first[2], second[3]))
    assert second[:3] == first[:3]


@pytest.mark.parametrize(("workers", "cached"), [(0, True), (2, False)])
def test_without_processes_or_a_cache_nothing_is_done(workers: int, cached: bool, items: list[dict], tmp_path: Path) -> None:
    dataset = CachedDataset(items, Compose([Load()]), tmp_path / "cache" if cached else None)
    engine = Engine(lambda engine, batch: None)
    CacheAhead(dataset, workers).attach(engine)
    engine.run([0], max_epochs=1)
    assert readers(items) == [0, 0, 0, 0]


def test_on_a_full_disk_scans_are_not_preprocessed_ahead(items: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each epoch all of them were, for nothing. The first one finds it out, in another process."""
    dataset = CachedDataset(items, Compose([Load()]), tmp_path / "cache")
    monkeypatch.setattr("bundle.data.cache.torch.save", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    engine, seen = Engine(lambda engine, batch: None), []
    CacheAhead(dataset, 1).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(readers(items)))
    engine.run([0], max_epochs=2)
    assert seen[0][0] != 0 and seen[0][1:] == [0, 0, 0] and seen[1] == seen[0] and not list((tmp_path / "cache").iterdir())
