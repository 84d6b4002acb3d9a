"""Data sets of several images per case: in folders, loaded, cached, and their mistakes in one line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pet_files
import pytest

from bundle.data.cache import CachedDataset
from bundle.data.datalist import datalist, find_cases
from bundle.data.load_scan import LoadScand
from bundle.errors import UserError

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
CT = (np.arange(60).reshape(5, 4, 3) * 30 - 1000).astype(np.int16)
PET = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 2
EDGES = np.diag([4.0, 5.0, 6.0, 1.0])


@pytest.fixture
def folder(tmp_path: Path, save: Callable) -> Path:
    """Two cases as nnU-Net names them, and one in a file of four axes."""
    for name in ("a", "b"):
        save(tmp_path / f"imagesTr/{name}_0000.nii.gz", CT)
        save(tmp_path / f"imagesTr/{name}_0001.nii.gz", PET, EDGES)
        save(tmp_path / f"labelsTr/{name}.nii.gz", (CT > 0).astype(np.uint8))
    save(tmp_path / "imagesTr/c.nii.gz", np.stack([CT, CT * 0 + 7], axis=3).astype(np.float32))
    save(tmp_path / "labelsTr/c.nii.gz", (CT > 0).astype(np.uint8))
    return tmp_path


def _items(folder: Path, listed: object = None, **about: object) -> list[dict]:
    if listed is None:
        return datalist(str(folder), "all", channels=BLOCK)
    (folder / "list.json").write_text(json.dumps({**about, "training": listed}))
    return datalist(str(folder), "all", str(folder / "list.json"), channels=BLOCK)


def test_nnunets_names(folder: Path) -> None:
    a, _, c = _items(folder)
    assert a["image"].endswith("a_0000.nii.gz") and a["channels"] == {"pet": str(folder / "imagesTr/a_0001.nii.gz")}
    assert "channels" not in c and [case.name for case in find_cases(str(folder), None, BLOCK).cases] == ["a", "b", "c"]


def test_one_channel_lists_as_before(folder: Path) -> None:
    with pytest.raises(UserError, match=r"a_0001.nii.gz: this image has no label.* where it is a second channel of a, name the channels"):
        datalist(str(folder), "all")


def test_a_missing_channel_is_named(folder: Path) -> None:
    (folder / "imagesTr/b_0001.nii.gz").unlink()
    with pytest.raises(UserError, match=r"b_0000.nii.gz: this image has no pet. Fix: put it beside it as b_0001.nii.gz"):
        _items(folder)


def test_loading_each_on_its_own_grid(folder: Path) -> None:
    loaded = LoadScand(["image", "label"], channels=BLOCK)(_items(folder)[0])
    np.testing.assert_array_equal(loaded["image"].numpy(), CT)
    np.testing.assert_array_equal(loaded["channels"]["pet"].numpy(), PET)
    np.testing.assert_array_equal(loaded["channels"]["pet"].affine, EDGES)
    assert loaded["label"].shape == CT.shape
    # MONAI's own lists: a path for each channel
    item = _items(folder)[0]
    again = LoadScand("image", channels=BLOCK)({"image": [item["image"], item["channels"]["pet"]]})
    np.testing.assert_array_equal(again["channels"]["pet"].numpy(), PET)


def test_loading_a_file_of_four_axes(folder: Path, save: Callable) -> None:
    loaded = LoadScand(["image", "label"], channels=BLOCK)(_items(folder)[2])
    np.testing.assert_array_equal(loaded["image"].numpy(), CT)
    assert (loaded["channels"]["pet"].numpy() == 7).all() and loaded["channels"]["pet"].shape == CT.shape
    three = save(folder / "three.nii.gz", np.stack([CT] * 3, axis=3))
    with pytest.raises(UserError, match=r"its size is 5x4x3x3, and 2 channels are wanted on its fourth axis"):
        LoadScand("image", channels=BLOCK)({"image": str(three)})
    with pytest.raises(UserError, match=r"a series of 2 volumes"):
        LoadScand("image")({"image": str(folder / "imagesTr/c.nii.gz")})


def test_a_case_without_its_pet_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"a_0000.nii.gz: the pet of this case is missing; the network takes 2 channels \(ct, pet\)"):
        LoadScand("image", channels=BLOCK)({"image": str(folder / "imagesTr/a_0000.nii.gz")})


def test_dicom_series_of_both(tmp_path: Path) -> None:
    dicom_files.series(tmp_path / "ct")
    files = pet_files.pet_series(tmp_path / "pet")
    for pet in (str(tmp_path / "pet"), [str(file) for file in files]):
        loaded = LoadScand("image", channels=BLOCK)({"image": str(tmp_path / "ct"), "channels": {"pet": pet}})
        np.testing.assert_array_equal(loaded["image"].numpy(), dicom_files.VALUES)
        np.testing.assert_allclose(loaded["channels"]["pet"].numpy(), pet_files.ACTIVITY * 70000 / 185e6, rtol=1e-5)
        np.testing.assert_allclose(loaded["channels"]["pet"].affine, pet_files.AFFINE)


def test_a_changed_channel_is_another_entry_of_the_cache(folder: Path, save: Callable) -> None:
    (item, *_) = _items(folder)
    dataset = CachedDataset([item], LoadScand("image", channels=BLOCK), folder / "cache")
    before = dataset.entry(item)
    save(folder / "imagesTr/a_0001.nii.gz", PET[:, :, :3], EDGES)
    assert dataset.entry(item) != before
