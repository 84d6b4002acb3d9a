"""The cache: hits, and every way in which an entry could be stale or damaged."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, RandGaussianNoised, Transform

from bundle.data import cache
from bundle.data.cache import CachedDataset, definition
from bundle.files import aside_path


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


class LoadBeside(Load):
    def __call__(self, item):
        with open(item["image"].replace(".mhd", ".raw")) as stream:
            return {"image": torch.full((1, 2, 2, 2), float(stream.read()))}


def test_voxels_in_a_file_of_their_own_are_read_again(tmp_path):
    header, voxels = tmp_path / "a.mhd", tmp_path / "a.raw"
    header.write_text("NDims = 3\nElementDataFile = a.raw\n")
    voxels.write_text("3")
    item = {"image": str(header)}
    assert value(make(item, tmp_path, [LoadBeside()])) == 3
    voxels.write_text("5")
    os.utime(voxels, ns=(1, 1))
    assert value(make(item, tmp_path, [LoadBeside()])) == 5


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


@pytest.mark.parametrize("error", [OSError("No space left on device"), RuntimeError("file write failed")])
def test_full_disk_costs_the_cache_not_the_run(item, tmp_path, monkeypatch, error):
    dataset = make(item, tmp_path)
    tried = []

    def full(content, path):
        tried.append(path)
        raise error

    monkeypatch.setattr(cache.torch, "save", full)
    with pytest.warns(UserWarning, match=f"{error}.*without writing more") as warned:
        assert value(dataset) == 3 and value(dataset) == 3
    assert len(tried) == len(warned) == 1


FULL = """
import resource, signal, sys, warnings
import numpy as np, torch
from pathlib import Path
from bundle.data.cache import CachedDataset
from monai.transforms import Transform
class Load(Transform):
    def __call__(self, item): return {"image": torch.rand(100_000)}
# files of more than 50 kB cannot be written: what torch then says is what it says of a full disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    dataset = CachedDataset([{"image": i} for i in range(3)], [Load()], sys.argv[1], seed=0)
    assert [dataset[i]["image"].shape for i in range(3)] == [(100_000,)] * 3
assert sum("without writing more" in str(one.message) for one in warned) == 1
assert list(Path(sys.argv[1]).iterdir()) == []
# the workers of a data loader are new in each epoch: what one has found out the next ones know
from monai.transforms import RandomizableTrait
from torch.utils.data import DataLoader
class Crop(Transform, RandomizableTrait):  # the limit is that of shared memory as well
    def __call__(self, item): return {"image": item["image"][:10].clone()}
warnings.simplefilter("always")
dataset = CachedDataset([{"image": i} for i in range(4)], [Load(), Crop()], sys.argv[1], seed=0)
for epoch in range(3):
    assert sum(len(batch["image"]) for batch in DataLoader(dataset, num_workers=2)) == 4
"""


def test_a_disk_that_is_really_full(tmp_path, repository, warm_python):
    done = warm_python("-c", FULL, str(tmp_path / "c"), cwd=repository)
    assert done.returncode == 0, done.stderr[-3000:]
    # two workers may find it out at the same time
    assert done.stderr.count("without writing more") in (1, 2), done.stderr


def test_a_folder_that_cannot_be_made_costs_the_cache_not_the_run(item, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.warns(UserWarning, match="cannot be made"):
        assert value(make(item, tmp_path)) == 3
    block = {"_target_": "bundle.data.cache.CachedDataset", "data": [], "transform": {"_target_": "Compose", "transforms": []}}
    with pytest.warns(UserWarning, match="cannot be made") as caught:
        ConfigParser({"dataset": {**block, "cache_dir": str(tmp_path / "cache")}}).get_parsed_content("dataset")
    assert {Path(one.filename).name for one in caught} == {"cache.py"}, "warnings of MONAI are not shown"


def test_what_a_killed_run_left_is_cleared(item, tmp_path):
    value(make(item, tmp_path))
    folder = make(item, tmp_path).entry(item).parent
    ours = aside_path(folder / "x.pt")
    dead = folder / ours.name.replace(f".{os.getpid()}.", ".4194305.")
    for path in (ours, dead):
        path.write_bytes(b"half")
    make(item, tmp_path)
    assert ours.exists() and not dead.exists()


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


def test_a_bound_of_memory_is_no_other_preprocessing():
    from bundle.data.load_scan import LoadScand

    assert cache.definition(LoadScand("image", memory_gb=1.0)) == cache.definition(LoadScand("image"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"func": "$lambda x: x * 2"}, {"func": "$lambda x: x * 3"}),
        ({"func": "$lambda x: x * @factor", "factor": 2}, {"func": "$lambda x: x * @factor", "factor": 3}),
        ({"func": "$(lambda k: lambda x: x * k)(2)"}, {"func": "$(lambda k: lambda x: x * k)(3)"}),
        ({"func": "$lambda x, k=2: x * k"}, {"func": "$lambda x, k=3: x * k"}),
        ({"func": "$lambda x: (lambda y: y + 1)(x)"}, {"func": "$lambda x: (lambda y: y + 2)(x)"}),
        ({"func": "$@holder.__mul__", "holder": 2}, {"func": "$@holder.__mul__", "holder": 3}),
    ],
)
def test_functions_of_a_config_are_known_by_what_they_do(one, other):
    """All lambdas have one name: after a change entries of the former one were trained on."""

    def of(block):
        more = {name: value for name, value in block.items() if name != "func"}
        parser = ConfigParser({**more, "transform": {"_target_": "Lambdad", "keys": "image", "func": block["func"]}})
        return definition(parser.get_parsed_content("transform"))

    assert of(one) == of(one) != of(other) == of(other)


def test_a_change_in_code_of_the_users_own_gives_other_entries(tmp_path, monkeypatch):
    """Nobody raises a version for it, as of installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_own.py").write_text("def double(x):\n    return x * 2\n")
    own = importlib.import_module("users_own")
    before = definition(own.double)
    assert before[1] and definition(np.clip)[1] == definition(os.path.join)[1] == definition(torch.nn.Linear)[1] == ""
    (tmp_path / "users_own.py").write_text("def double(x):\n    return x * 2.5\n")
    cache._source.cache_clear()
    assert definition(own.double) != before


def test_definition_of_an_object_that_holds_itself_ends():
    one = Load()
    one.itself = one
    assert definition(one) == definition(one)
