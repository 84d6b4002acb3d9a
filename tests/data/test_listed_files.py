"""Files that a list names are found where they are now."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.data.listed_files import Finder, stem


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("there", "listed"),
    [
        ("images/a.nii.gz", "images/a.nii.gz"),
        ("images/a.nii.gz", "images\\a.nii.gz"),
        ("images/a.nii", "images/a.nii.gz"),
        ("images/a.nii.gz", "images/a.nii"),
        ("images/a_0000.nii.gz", "images/a.nii.gz"),
        ("images/a.nii.gz", "other/../images/a.nii.gz"),
    ],
)
def test_a_file_is_found_under_the_names_that_lists_have_for_it(there: str, listed: str, tmp_path: Path) -> None:
    assert Finder([touch(tmp_path, there)]).file(listed) == str(tmp_path / there)


def test_folders_are_found_and_the_first_base_counts(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.nii.gz", "two/a.nii.gz", "two/series/1.dcm")
    finder = Finder([tmp_path / "one", tmp_path / "two"])
    assert finder.file("a.nii.gz") == str(tmp_path / "one/a.nii.gz")
    assert finder.file("series") == str(tmp_path / "two/series"), "a folder of DICOM slices"
    assert finder.file(str(tmp_path / "two/a.nii.gz")) == str(tmp_path / "two/a.nii.gz")
    assert finder.file("b.nii.gz") is None and finder.file("serie") is None


def test_a_file_that_is_there_comes_before_one_of_nearly_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.nii", "two/a.nii.gz")
    assert Finder([tmp_path / "one", tmp_path / "two"]).file("a.nii.gz") == str(tmp_path / "two/a.nii.gz")


def test_names_without_their_endings() -> None:
    assert [stem(name) for name in ("x/a.1.NII.GZ", "a.nii", "a.dcm", "a")] == ["a.1", "a", "a", "a"]
