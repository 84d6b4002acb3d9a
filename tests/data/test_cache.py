"""The cache: hits, and every way in which an entry could be stale or damaged."""

import os

import numpy as np
import pytest
import torch
from monai.transforms import Compose, RandGaussianNoised, Transform

from bundle.data import cache
from bundle.data.cache import CachedDataset, definition


class Load(Transform):
    """Reads one number from a text file and counts how often it was asked to."""

    calls = 0

    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, item):
        type(self).calls += 1
        with open(item["image"]) as stream:
            return {"image": torch.full((1, 2, 2, 2), float(stream.read()) * self.factor)}


@pytest.fixture(autouse=True)
def _reset():
    Load.calls = 0


@pytest.fixture
def item(tmp_path):
    path = tmp_path / "scan.txt"
    path.write_text("3")
    return {"image": str(path)}


def make(item, tmp_path, transforms=None, **options):
    return CachedDataset([item], Compose(transforms or [Load()]), tmp_path / "cache", **options)


def value(dataset):
    return dataset[0]["image"][0, 0, 0, 0].item()


def test_second_read_and_second_process_come_from_the_cache(item, tmp_path):
    assert [value(make(item, tmp_path)), value(make(item, tmp_path))] == [3, 3]
    assert Load.calls == 1


def test_no_cache_without_a_folder(item):
    dataset = CachedDataset([item], Compose([Load()]), None)
    assert [value(dataset), value(dataset)] == [3, 3] and Load.calls == 2


@pytest.mark.parametrize("change", ["content of another size", "same size, another time"])
def test_replaced_image_is_read_again(item, tmp_path, change):
    value(make(item, tmp_path))
    with open(item["image"], "w") as stream:
        stream.write("12" if "another size" in change else "5")
    os.utime(item["image"], ns=(1, 1))
    assert value(make(item, tmp_path)) == (12 if "another size" in change else 5)


def test_other_arguments_make_other_entries(item, tmp_path):
    assert value(make(item, tmp_path)) == 3
    assert value(make(item, tmp_path, [Load(factor=2.0)])) == 6


def test_other_code_makes_other_entries(item, tmp_path, monkeypatch):
    before = make(item, tmp_path).entry(item)
    monkeypatch.setattr(cache, "_source", lambda thing: "edited")
    assert make(item, tmp_path).entry(item) != before


def test_code_behind_a_transform_includes_what_it_imports_in_a_function():
    """LoadScand imports the DICOM reader only when it meets DICOM."""
    from bundle.data.load_scan import LoadScand

    files = {}
    cache._collect(LoadScand.__module__, files)
    assert {"bundle.data.load_scan", "bundle.images.reading", "bundle.dicom.pixels", "bundle.errors"} <= set(files)
    assert not any(name.startswith("bundle.handlers") for name in files)


def test_other_version_of_monai_makes_other_entries(item, tmp_path, monkeypatch):
    before = make(item, tmp_path).entry(item)
    monkeypatch.setattr(cache.monai, "__version__", "99")
    assert make(item, tmp_path).entry(item) != before


def test_random_transforms_are_not_part_of_the_key(item, tmp_path):
    plain = make(item, tmp_path).entry(item)
    assert make(item, tmp_path, [Load(), RandGaussianNoised("image", prob=1.0)]).entry(item) == plain


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_damaged_entry_is_made_again(item, tmp_path, damage):
    dataset = make(item, tmp_path)
    value(dataset)
    entry = dataset.entry(item)
    content = bytearray(entry.read_bytes())
    if damage == "flipped":
        place = content.find(np.float32(3).tobytes())
        content[place] ^= 0xFF
    entry.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"hello", "flipped": content}[damage])
    with pytest.warns(UserWarning, match="made again"):
        assert value(make(item, tmp_path)) == 3
    assert value(make(item, tmp_path)) == 3 and Load.calls == 2


def test_killed_while_writing_leaves_no_entry(item, tmp_path, monkeypatch):
    dataset = make(item, tmp_path)

    def dies(content, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        value(dataset)
    monkeypatch.undo()
    assert not dataset.entry(item).exists()
    assert value(make(item, tmp_path)) == 3


def test_full_disk_costs_the_cache_not_the_run(item, tmp_path, monkeypatch):
    dataset = make(item, tmp_path)

    def full(content, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(cache.torch, "save", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert value(dataset) == 3


def test_set_data_keeps_entries_of_other_cases(item, tmp_path):
    dataset = make(item, tmp_path)
    value(dataset)
    dataset.set_data([dict(item)])
    assert dataset.entry(item).is_file() and value(dataset) == 3 and Load.calls == 1


def test_every_file_of_a_folder_counts(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1.dcm").write_text("1")
    before = make({"image": str(folder)}, tmp_path).entry({"image": str(folder)})
    (folder / "2.dcm").write_text("2")
    assert make({"image": str(folder)}, tmp_path).entry({"image": str(folder)}) != before


def test_randomness_is_a_function_of_seed_epoch_and_index(item, tmp_path):
    noise = [Load(), RandGaussianNoised("image", prob=1.0)]
    first, second = make(item, tmp_path, noise, seed=0), make(item, tmp_path, noise, seed=0)
    first[0]  # one draw more than the other has made
    first.set_epoch(4)
    second.set_epoch(4)
    assert torch.equal(first[0]["image"], second[0]["image"])
    second.set_epoch(5)
    assert not torch.equal(first[0]["image"], second[0]["image"])
    other = make(item, tmp_path, noise, seed=1)
    other.set_epoch(4)
    assert not torch.equal(first[0]["image"], other[0]["image"])


def test_definition_is_equal_for_equal_transforms_and_only_for_those():
    class Holder:
        def __init__(self, **parts):
            self.__dict__.update(parts)

    one = Holder(array=np.arange(3), nested={"a": [1, 2.5, None]}, function=np.mean)
    same = Holder(array=np.arange(3), nested={"a": [1, 2.5, None]}, function=np.mean)
    assert definition(one) == definition(same)
    for other in ({"array": np.arange(4)}, {"nested": {"a": [1, 2.5, 0]}}, {"function": np.median}):
        assert definition(Holder(**{**vars(one), **other})) != definition(one)


def test_definition_of_an_object_that_holds_itself_ends():
    one = Load()
    one.itself = one
    assert definition(one) == definition(one)
