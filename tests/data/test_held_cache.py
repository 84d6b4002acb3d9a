"""Entries that stay on a device: read once, never written into, as many as there is room for."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose, RandLambdad, Transform

from bundle.data.cache import CachedDataset
from bundle.data.held_cache import HeldDataset


class Load(Transform):
    """A volume of 2x2x2, 32 bytes, of the number in a text file; counts how often it was asked to."""

    calls = 0

    def __call__(self, item: dict) -> dict:
        type(self).calls += 1
        return {"image": torch.full((1, 2, 2, 2), float(Path(item["image"]).read_text()))}


@pytest.fixture
def items(tmp_path: Path) -> list[dict]:
    Load.calls = 0
    for name in "12":
        (tmp_path / name).write_text(name)
    return [{"image": str(tmp_path / name)} for name in "12"]


def held(items: list[dict], cache: Path | None = None, *, twice: bool = True, **options: object) -> HeldDataset:
    # writes into what it is given
    doubled = RandLambdad("image", func=lambda image: image.mul_(2), prob=1.0)
    return HeldDataset(items, Compose([Load(), *([doubled] if twice else [])]), cache, device="cpu", **options)


def values(dataset: HeldDataset) -> list[float]:
    return [float(dataset[index]["image"].mean()) for index in range(len(dataset.data))]


def test_an_entry_is_read_once_and_is_not_changed_by_what_comes_after(items: list[dict], tmp_path: Path) -> None:
    dataset = held(items, tmp_path / "cache")
    assert values(dataset) == [2, 4]
    for entry in (tmp_path / "cache").glob("*.pt"):
        entry.unlink()
    assert [values(dataset), values(dataset)] == [[2, 4], [2, 4]] and Load.calls == 2


def test_without_a_folder_it_holds_what_it_made(items: list[dict]) -> None:
    dataset = held(items)
    assert [values(dataset), values(dataset)] == [[2, 4], [2, 4]] and Load.calls == 2


def test_only_what_there_is_room_for_is_held(items: list[dict]) -> None:
    dataset = held(items, held_gb=40e-9)
    assert [values(dataset), values(dataset)] == [[2, 4], [2, 4]]
    assert Load.calls == 3  # the second volume is not among the 40 bytes


def test_a_file_that_changes_is_read_again(items: list[dict]) -> None:
    dataset = held(items)
    assert values(dataset) == [2, 4]
    Path(items[0]["image"]).write_text("12.5")
    assert values(dataset) == [25, 4]


def test_it_reads_what_the_other_one_wrote(items: list[dict], tmp_path: Path) -> None:
    written = CachedDataset(items, Compose([Load()]), tmp_path / "cache")
    for item in items:
        written.write_entry(item)
    assert values(held(items, tmp_path / "cache")) == [2, 4] and Load.calls == 2


def test_another_process_gets_none_of_what_is_held(items: list[dict]) -> None:
    dataset = held(items, twice=False)  # a lambda cannot go there
    assert values(dataset) == [1, 2]
    there = pickle.loads(pickle.dumps(dataset))
    assert there._held == {} and values(there) == [1, 2] and Load.calls == 4
    assert values(dataset) == [1, 2] and Load.calls == 4
