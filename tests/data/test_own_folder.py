"""A folder that a verb may write into: its own or an empty one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from listings import touch

from bundle.data.own_folder import claim
from bundle.errors import UserError

PARTS = ("imagesTr", "labelsTr")


def described(folder: Path, **content: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(content))


def test_a_new_an_empty_and_an_interrupted_folder_are_taken(tmp_path: Path) -> None:
    claim(tmp_path / "new", "made", {"seed": 1}, parts=PARTS)
    (tmp_path / "begun" / "imagesTr").mkdir(parents=True)
    touch(tmp_path / "begun", ".x.nii.gz.unfinished", "imagesTr/.a.nii.gz.unfinished")
    claim(tmp_path / "begun", "made", {"seed": 1}, parts=PARTS)
    assert [path.name for path in (tmp_path / "begun").rglob("*")] == ["imagesTr"], "what a killed run left is cleared"


@pytest.mark.parametrize("names", [["notes.txt"], ["imagesTr/a.nii.gz"], ["other/"], [*"abcde"]])
def test_a_folder_with_something_else_is_refused_by_name(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            touch(tmp_path, name)
    with pytest.raises(UserError, match="holds something else") as caught:
        claim(tmp_path, "made", {}, parts=PARTS)
    shown = "a, b, c and 2 more" if len(names) == 5 else names[0].split("/")[0]
    assert f"({shown})" in str(caught.value)


def test_what_is_described_as_another_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file: is a file"):
        claim(tmp_path / "file", "made", {}, parts=PARTS)
    folder = tmp_path / "set"
    for content in ({"training": []}, {"made": 3}, {"another": {"seed": 1}}):
        described(folder, **content)
        with pytest.raises(UserError, match=r"dataset\.json: the folder holds another data set, not one of 'made'"):
            claim(folder, "made", {"seed": 1}, parts=PARTS)
    (folder / "dataset.json").write_text("{broken")
    with pytest.raises(UserError, match="another data set"):
        claim(folder, "made", {"seed": 1}, parts=PARTS)


def test_its_own_set_stays_and_another_record_is_removed_only_when_told(tmp_path: Path) -> None:
    """Also scans that the list names no more, as after a run of fewer cases: they would be taken for those of the new record."""
    touch(tmp_path, *(f"{part}/scan_{number}.nii.gz" for part in PARTS for number in range(3)))
    touch(tmp_path, "imagesTr/mine.nii.gz", "other/scan_0.nii.gz")
    listed = [{"image": "./imagesTr/scan_0.nii.gz", "label": "labelsTr/scan_0.nii.gz"}, {"image": "other/scan_0.nii.gz"}]
    described(tmp_path, made={"seed": 1, "names": ["x"] * 4}, training=listed)
    claim(tmp_path, "made", {"seed": 1}, parts=PARTS, scans=r"scan_\d\.nii\.gz", overwrite=True)
    assert (tmp_path / "imagesTr/scan_0.nii.gz").exists()
    with pytest.raises(UserError, match=r"another data set \(seed 1, names of 4 names\), not seed 2, names None.* or give --overwrite"):
        claim(tmp_path, "made", {"seed": 2, "names": None}, parts=PARTS)
    claim(tmp_path, "made", {"seed": 2}, parts=PARTS, overwrite=True, scans=r"scan_\d\.nii\.gz")
    # only what is called as the verb's scans are, within the verb's own folders
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.gz"))
    assert left == ["imagesTr/mine.nii.gz", "other/scan_0.nii.gz"]
