"""Synthetic heads and necks: what the CT hides and the PET shows."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from bundle.data.datalist import datalist
from bundle.data.synthetic.head_neck import NOISE_HU, head_neck, make_head_neck
from bundle.errors import UserError

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


def test_the_pet_shows_the_tumour_and_the_ct_does_not() -> None:
    made = make_head_neck(3)
    tumour = made.label > 0
    inside = made.ct[tumour].astype(float)
    muscle = made.ct[(made.ct > -40) & (made.ct < 130) & ~tumour].astype(float)
    assert abs(inside.mean() - muscle.mean()) < NOISE_HU
    places = np.argwhere(tumour) @ made.affine[:3, :3].T + made.affine[:3, 3]
    index = (places - made.pet_affine[:3, 3]) @ np.linalg.inv(made.pet_affine[:3, :3]).T
    suv = map_coordinates(made.pet, index.T, order=1)
    assert suv.max() > 4 and np.median(suv) > 3 and np.median(made.pet[made.pet > 0.3]) < 1.5
    assert made.ct.dtype == np.int16 and made.pet.dtype == np.float32 and made.ct.shape != made.pet.shape


def test_the_same_seed_gives_the_same_patient() -> None:
    one, same, other = make_head_neck([0, 1]), make_head_neck([0, 1]), make_head_neck([0, 2])
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True)) and not np.array_equal(one.ct, other.ct)


def test_the_data_set(tmp_path: Path) -> None:
    head_neck(str(tmp_path / "hn"), cases=2)
    items = datalist(str(tmp_path / "hn"), "all", channels=BLOCK)
    assert [Path(item["channels"]["pet"]).name for item in items] == ["hn_000_0001.nii.gz", "hn_001_0001.nii.gz"]
    alone = datalist(str(tmp_path / "hn"), "all", str(tmp_path / "hn/ct.json"))
    assert [item["image"] for item in alone] == [item["image"] for item in items] and "channels" not in alone[0]
    assert nibabel.load(items[0]["channels"]["pet"]).get_data_dtype() == np.float32
    assert json.loads((tmp_path / "hn/dataset.json").read_text())["modality"] == {"0": "CT", "1": "PET"}
    with pytest.raises(UserError, match="another data set"):
        head_neck(str(tmp_path / "hn"), cases=2, seed=1)
    with pytest.raises(UserError, match="--cases"):
        head_neck(str(tmp_path / "other"), cases=0)
