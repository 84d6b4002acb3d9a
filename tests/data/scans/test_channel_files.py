"""Which files are channels of which scan, in the layouts that people have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dicom_files
import nibabel
import numpy as np
import pet_files
import pytest

from bundle.channels import channels_of
from bundle.data.scans import find_scans, listed_scans
from bundle.data.scans.channel_files import joined
from bundle.results.identity import files_of

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


def _write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), path)
    return path


def _found(root: Path, block: list | None = BLOCK) -> dict[str, tuple[str, dict[str, str]]]:
    """Case to its image and further channels, below the root."""

    def below(path: str) -> str:
        return str(Path(path).relative_to(root))

    items = find_scans(root, channels=block)
    return {item["case"]: (below(item["image"]), {name: below(file) for name, file in item.get("channels", {}).items()}) for item in items}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["a_0000", "a_0001", "b_0000", "b_0001"], {"a": ("a_0000", "a_0001"), "b": ("b_0000", "b_0001")}),
        # a number at the end is a channel only beside channel 0
        (["amos_0001", "amos_0002"], {"amos_0001": ("amos_0001", None), "amos_0002": ("amos_0002", None)}),
        (["CHUM-001__CT", "CHUM-001__PT"], {"CHUM-001__CT": ("CHUM-001__CT", "CHUM-001__PT")}),
        (["p1/CT", "p1/PET", "p2/CT", "p2/PET"], {"p1_CT": ("p1/CT", "p1/PET"), "p2_CT": ("p2/CT", "p2/PET")}),
        (["p1/ct/scan", "p1/pet/scan"], {"p1_ct_scan": ("p1/ct/scan", "p1/pet/scan")}),
        (["pet_ct_study/p1/ct", "pet_ct_study/p1/pet"], {"pet_ct_study_p1_ct": ("pet_ct_study/p1/ct", "pet_ct_study/p1/pet")}),
        # a PET in Bq/ml and one in SUV, as in FDG-PET-CT-Lesions
        (["p1/CTres", "p1/PET", "p1/SUV"], {"p1_CTres": ("p1/CTres", "p1/SUV")}),
        (["sub-1/ct/sub-1_ct", "sub-1/pet/sub-1_pet"], {"sub-1_ct_sub-1_ct": ("sub-1/ct/sub-1_ct", "sub-1/pet/sub-1_pet")}),
        (["a_0000"], {"a": ("a_0000", None)}),
        (["x"], {"x": ("x", None)}),
    ],
)
def test_layouts(files: list[str], wanted: dict, tmp_path: Path) -> None:
    for name in files:
        _write(tmp_path / f"{name}.nii.gz")
    expected = {case: (f"{ct}.nii.gz", {"pet": f"{pet}.nii.gz"} if pet else {}) for case, (ct, pet) in wanted.items()}
    assert _found(tmp_path) == expected


def test_a_pet_without_its_ct_is_left_alone_and_said_so(tmp_path: Path) -> None:
    for name in ("p1/CT", "p1/PET", "p2/PET"):
        _write(tmp_path / f"{name}.nii.gz")
    found = find_scans(tmp_path, channels=BLOCK)
    assert [item["case"] for item in found] == ["p1_CT"]
    assert found.left_alone == ["left alone: 1 image of a further channel without its CT (p2/PET.nii.gz)"]
    # for a network of CT alone nothing is new
    alone = find_scans(tmp_path)
    assert "left alone: 1 PET image (p1/PET.nii.gz)" in alone.left_alone and all("channels" not in item for item in alone)


def test_several_that_may_be_the_channel_are_a_problem_of_the_case(tmp_path: Path) -> None:
    for name in ("p1/CT", "p1/PET", "p1/pt"):
        _write(tmp_path / f"{name}.nii.gz")
    (item,) = find_scans(tmp_path, channels=BLOCK)
    assert item["problem"] == "several files may be its pet (PET.nii.gz, pt.nii.gz)" and "leave one" in item["fix"]


def test_two_pet_by_their_names(tmp_path: Path) -> None:
    channels = channels_of([*BLOCK, {"name": "late", "kind": "pet"}])
    files = [tmp_path / f"p_{name}.nii.gz" for name in ("ct", "pet", "late_pet")]
    found, alone = joined(files, tmp_path, channels)
    assert found[files[0]].channels == {"pet": str(files[1]), "late": str(files[2])} and not alone


def test_one_file_by_its_own_path(tmp_path: Path) -> None:
    paths = [_write(tmp_path / name) for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")]
    (item,) = find_scans(paths[0], channels=BLOCK)
    assert (item["case"], item["channels"]) == ("a", {"pet": str(paths[1])})
    assert "channels" not in find_scans(paths[0])[0]


def _study(uid: str) -> Callable:
    return lambda ds, k: setattr(ds, "StudyInstanceUID", uid)


def test_dicom_series_of_one_study(tmp_path: Path) -> None:
    for patient in ("1", "2"):
        dicom_files.series(tmp_path / patient / "ct", _study(f"1.5.{patient}"), uid=f"1.2.3.{patient}")
        pet_files.pet_series(tmp_path / patient / "pet", _study(f"1.5.{patient}"), uid=f"1.2.8.{patient}")
    pet_files.pet_series(tmp_path / "3", _study("1.5.3"), uid="1.2.8.3")
    found = find_scans(tmp_path, channels=BLOCK)
    assert [item["case"] for item in found] == ["1_ct", "2_ct"]
    for patient, item in zip("12", found, strict=True):
        assert len(item["image"]) == 6 and len(item["channels"]["pet"]) == 5
        assert {Path(file).parent for file in item["channels"]["pet"]} == {tmp_path / patient / "pet"}
        assert len(files_of(item)) == 11
    assert found.left_alone == ["left alone: 5 PET files (3/PT5.dcm, ...)"]
    assert find_scans(tmp_path).left_alone == ["left alone: 15 PET files (1/pet/PT5.dcm, ...)"]


def test_of_several_pet_series_the_corrected_one_counts(tmp_path: Path) -> None:
    dicom_files.series(tmp_path / "ct")
    pet_files.pet_series(tmp_path / "pet")
    pet_files.pet_series(tmp_path / "nac", lambda ds, k: setattr(ds, "CorrectedImage", ["DECY"]), uid="1.2.9")
    (item,) = find_scans(tmp_path, channels=BLOCK)
    assert Path(item["channels"]["pet"][0]).parent.name == "pet"
    pet_files.pet_series(tmp_path / "late", uid="1.2.10")
    (item,) = find_scans(tmp_path, channels=BLOCK)
    assert "its study has 2 PET series" in item["problem"]


def test_listed_cases_keep_their_channels(tmp_path: Path) -> None:
    ct, pet, label = (str(_write(tmp_path / f"{name}.nii.gz")) for name in ("ct", "pet", "label"))
    (item,) = listed_scans([{"image": ct, "label": label, "channels": {"pet": pet}}])
    assert (item["image"], item["channels"]) == (ct, {"pet": pet}) and files_of(item) == [ct, pet]
    (item,) = listed_scans([{"image": ct, "label": label, "channels": {"pet": pet + "x"}}])
    assert item["problem"] == "there is no such file"
