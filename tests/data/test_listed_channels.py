"""Lists of cases with several images: which files are which channels, and their mistakes in one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.data.datalist import datalist
from bundle.data.listed_channels import without_channel
from bundle.errors import UserError

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One case as nnU-Net names its files; nothing is read from them."""
    for name in ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    return tmp_path


def _items(folder: Path, listed: object, **about: object) -> list[dict]:
    (folder / "list.json").write_text(json.dumps({**about, "training": listed}))
    return datalist(str(folder), "all", str(folder / "list.json"), channels=BLOCK)


@pytest.mark.parametrize(
    "image",
    [["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "imagesTr/a_0000.nii.gz", "imagesTr/a.nii.gz"],
)
def test_lists(folder: Path, image: object) -> None:
    """A list of files; the first of nnU-Net's files; or the name of the case, as nnU-Net's own lists have it."""
    (item,) = _items(folder, [{"image": image, "label": "labelsTr/a.nii.gz"}], modality={"0": "CT", "1": "PET"})
    assert item["image"].endswith("a_0000.nii.gz") and item["channels"] == {"pet": str(folder / "imagesTr/a_0001.nii.gz")}


@pytest.mark.parametrize(
    ("image", "about", "message"),
    [
        (["imagesTr/a_0000.nii.gz"], {}, r"training\[0\].image has 1 entry, and the network takes 2 channels \(the CT, pet\)"),
        (["imagesTr/a_0000.nii.gz", "x.nii.gz"], {}, r'training\[0\]: its pet, "x.nii.gz", is not there'),
        (
            "imagesTr/a_0000.nii.gz",
            {"modality": {"0": "PET", "1": "CT"}},
            r"it says that the channels are PET, CT, and channels says ct, pet",
        ),
        ("imagesTr/a_0000.nii.gz", {"channel_names": {"0": "CT"}}, r"it lists 1 channel \(CT\), and the network takes 2"),
    ],
)
def test_mistakes_in_lists_are_one_line(folder: Path, image: object, about: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _items(folder, [{"image": image, "label": "labelsTr/a.nii.gz"}], **about)


@pytest.mark.parametrize(
    ("image", "others", "named"),
    [
        ("x/a_0000.nii.gz", (("pet", "p"),), "x/a.nii.gz"),
        ("x/a_0000.nii.gz", (), "x/a_0000.nii.gz"),
        ("x/a.nii.gz", (("pet", "p"),), "x/a.nii.gz"),
    ],
)
def test_a_case_is_named_without_the_number_of_its_first_channel(image: str, others: tuple, named: str) -> None:
    assert without_channel(image, others) == named
