"""The doctor on data sets with further channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pet_files
import pytest

from bundle.data.checks.check import check_before_training, measure, problems_of
from bundle.data.checks.doctor import check
from bundle.data.checks.facts import channel_facts, image_facts
from bundle.data.datalist import find_cases

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
LABELS = {"background": 0, "pancreas": 1, "spleen": 2}


def _suv(shape: tuple[int, ...] = (10, 8, 7), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32) * 6


@pytest.fixture
def folder(tmp_path: Path, save: Callable, scan: Callable) -> Path:
    """Four good cases: the CT's voxels are 2 mm, those of the PET 5 mm."""
    for number in range(4):
        image, label = scan(number)
        save(tmp_path / f"imagesTr/c{number}_0000.nii.gz", image)
        save(tmp_path / f"imagesTr/c{number}_0001.nii.gz", _suv(seed=number), np.diag([5.0, 5, 5, 1]))
        save(tmp_path / f"labelsTr/c{number}.nii.gz", label)
    return tmp_path


def _problems(folder: Path) -> list[tuple[str, str, str]]:
    measured = measure(find_cases(str(folder), None, BLOCK), progress=False, channels=BLOCK)
    return [(one.level, one.code, one.problem) for one in problems_of(measured, LABELS, {}, BLOCK)]


def test_a_good_data_set_has_no_problem(folder: Path) -> None:
    assert _problems(folder) == []
    counts = check_before_training(str(folder), LABELS, channels=BLOCK, num_folds=4, cache_dir=str(folder / "cache"), progress=False)
    assert counts == {"training": 3, "validation": 1, "test": 0}
    # from the cache as well
    assert (
        check_before_training(str(folder), LABELS, channels=BLOCK, num_folds=4, cache_dir=str(folder / "cache"), progress=False) == counts
    )
    assert check(str(folder), labels=LABELS, channels=BLOCK, num_folds=4, patch_size=(8, 8, 8), output_dir=str(folder / "out")) == 0


@pytest.mark.parametrize(
    ("values", "affine", "level", "code", "words"),
    [
        (_suv() * 5000, np.diag([5.0, 5, 5, 1]), "error", "SUV", "pet: values from .* are no SUV"),
        (_suv() * 0.01, np.diag([5.0, 5, 5, 1]), "warning", "SUV", "pet: its highest SUV is 0.0"),
        (_suv() * 0, np.diag([5.0, 5, 5, 1]), "error", "constant", "pet: has the one value 0 everywhere"),
        (_suv(), np.diag([2.0, 2, 2, 1]), "warning", "place", "pet: covers 7 % of"),
        (_suv(), np.diag([-5.0, -5, -5, 1]) - np.eye(4) * 0, "warning", "place", "pet: covers 0 % of"),
        (_suv()[..., None].repeat(2, 3), np.diag([5.0, 5, 5, 1]), "error", "not 3D", "is not a 3D volume"),
    ],
)
def test_problems_of_a_pet(values: np.ndarray, affine: np.ndarray, level: str, code: str, words: str, folder: Path, save: Callable) -> None:
    import re

    save(folder / "imagesTr/c1_0001.nii.gz", values, affine)
    ((found_level, found_code, problem),) = _problems(folder)
    assert (found_level, found_code) == (level, code) and re.search(words, problem)


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 voxel that is NaN or infinite, and counts as 0"), (3, "3 voxels that are NaN or infinite, and count as 0")]
)
def test_voxels_that_are_no_numbers_are_counted(number: int, words: str, folder: Path, save: Callable) -> None:
    values = _suv()
    values[0, 0, :number] = np.nan
    save(folder / "imagesTr/c1_0001.nii.gz", values, np.diag([5.0, 5, 5, 1]))
    assert _problems(folder) == [("warning", "NaN", f"pet: has {words}")]


def test_a_pet_somewhere_else_is_an_error(folder: Path, save: Callable) -> None:
    away = np.diag([5.0, 5, 5, 1])
    away[0, 3] = 300
    save(folder / "imagesTr/c1_0001.nii.gz", _suv(), away)
    ((level, code, problem),) = _problems(folder)
    assert (level, code) == ("error", "place") and "pet: has no place in common with" in problem


def test_a_ct_alone_and_files_of_four_axes(folder: Path, save: Callable, scan: Callable) -> None:
    image, label = scan(8)
    save(folder / "labelsTr/whole.nii.gz", label)
    save(folder / "imagesTr/whole.nii.gz", image)
    ((level, code, problem),) = _problems(folder)
    assert (level, code) == ("error", "channel") and problem == "has no pet, which the network takes"
    both = np.stack([image.astype(np.float32), _suv(image.shape)], axis=3)
    save(folder / "imagesTr/whole.nii.gz", both)
    assert _problems(folder) == []
    save(folder / "imagesTr/whole.nii.gz", np.concatenate([both, both[..., :1]], axis=3))
    ((level, code, problem),) = _problems(folder)
    assert (level, code) == ("error", "not 3D") and "24x20x16x3" in problem


def test_facts_of_one_volume_of_several(tmp_path: Path, save: Callable, scan: Callable) -> None:
    """As those of the same volume in a file of its own."""
    image, _ = scan(0)
    values = np.stack([image.astype(np.float32), _suv(image.shape)], axis=3)
    several = str(save(tmp_path / "several.nii.gz", values))
    for index in range(2):
        alone = image_facts(str(save(tmp_path / f"{index}.nii.gz", values[..., index])))
        found = image_facts(several, None, (index, 2))
        assert found.pop("volumes") == 2
        assert {key: found[key] for key in alone} == alone


def test_facts_of_a_pet_series_are_suv(tmp_path: Path) -> None:
    pet_files.pet_series(tmp_path / "pet")
    facts = channel_facts(str(tmp_path / "pet"), "pet")
    assert facts["shape"] == [4, 3, 5] and facts["maximum"] == pytest.approx(pet_files.ACTIVITY.max() * 70000 / 185e6, rel=1e-5)
    dicom_files.series(tmp_path / "ct")
    assert "no PET is in this folder" in channel_facts(str(tmp_path / "ct"), "pet")["error"]
