"""Lists of scans with a class: what is read, what is refused in one line, and how often a class is drawn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.data.class_list import class_cases, class_names, class_sampler, class_weights, read_class_list
from bundle.errors import UserError


def write(folder: Path, content: dict[str, Any], files: str = "abcdefgh") -> Path:
    for name in files:
        (folder / f"{name}.nii.gz").touch()
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def entries(classes: str | list[Any], files: str = "abcdefgh") -> list[dict[str, Any]]:
    return [{"image": f"{name}.nii.gz", "class": one} for name, one in zip(files, classes, strict=False)]


def test_sections_and_numbers_of_classes(tmp_path: Path) -> None:
    listed = {"classes": ["portal", "none"], "training": entries(["none", "portal"]), "validation": entries(["portal"], "c")}
    write(tmp_path, listed | {"test": [{"image": "d.nii.gz", "class": "none"}, "e.nii.gz"]})
    names = class_names(str(tmp_path))
    assert names == ["portal", "none"], "the order of the list"
    found = class_cases(str(tmp_path), "training", names=names)
    assert found == [{"image": str(tmp_path / "a.nii.gz"), "label": 1}, {"image": str(tmp_path / "b.nii.gz"), "label": 0}]
    assert [item["label"] for item in class_cases(str(tmp_path), "validation", names=names)] == [0]
    assert [item["image"][-8] for item in class_cases(str(tmp_path), "test", names=names)] == ["d"], "what has no class is no case"


def test_numbers_are_classes_and_folds_are_made(tmp_path: Path) -> None:
    write(tmp_path, {"training": entries([10, "2", 2, 10, 2, 10])})
    names = class_names(str(tmp_path))
    assert names == ["2", "10"], "numbers in their order"
    assert class_names(str(tmp_path), classes=[10, 2]) == ["10", "2"]
    parts = [class_cases(str(tmp_path), section, names=names, num_folds=3) for section in ("training", "validation")]
    assert [len(part) for part in parts] == [4, 2]
    assert not {item["image"] for item in parts[0]} & {item["image"] for item in parts[1]}


def test_one_name_in_two_folders_is_two_cases(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ct.nii.gz").touch()
    write(tmp_path, {"training": [{"image": "one/ct.nii.gz", "class": "a"}, {"image": "two/ct.nii.gz", "class": "b"}]}, "")
    assert [case.name for case in read_class_list(tmp_path).cases] == ["one/ct", "two/ct"]


def test_a_scan_is_found_as_the_files_of_other_lists_are(tmp_path: Path) -> None:
    """Unpacked since the list was written, by backslashes, and as a folder of DICOM slices."""
    (tmp_path / "scans" / "series").mkdir(parents=True)
    (tmp_path / "scans" / "a.nii").touch()
    listed = [{"image": "scans\\a.nii.gz", "class": "x"}, {"image": "scans/series", "class": "y"}]
    write(tmp_path, {"training": listed}, "")
    assert [case.image for case in read_class_list(tmp_path).cases] == [str(tmp_path / "scans/a.nii"), str(tmp_path / "scans/series")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"training": {}}, '"training" is an object, not a list'),
        ({"training": ["a.nii.gz"]}, r"training\[0\] is a text .* not an image with its class"),
        ({"training": [{"image": "a.nii.gz"}]}, r"training\[0\].class is not there"),
        ({"training": [{"image": "a.nii.gz", "class": True}]}, r"training\[0\].class is true"),
        ({"training": [{"image": "a.nii.gz", "class": 1.5}]}, r"training\[0\].class is a number \(1.5\)"),
        ({"training": [{"class": "x"}]}, r"training\[0\].image is not there"),
        ({"training": [{"image": ["a"], "class": "x"}]}, r"training\[0\].image is a list"),
        ({"training": entries(["x"], "z")}, r'training\[0\].image is "z.nii.gz", but there is no such file'),
        ({"training": entries(["x", "y", "x"], "aba")}, r"lists the image .*a.nii.gz more than once \(training\[0\], training\[2\]\)"),
        ({"classes": ["x", "x"], "training": entries(["x"])}, '"classes" is a list that names no different classes'),
        ({"classes": ["x", "y"], "training": entries(["z"])}, r'training\[0\].class is "z", none of x, y'),
        ({"training": [{"image": "a.nii.gz", "class": "x", "fold": -1}]}, r"training\[0\].fold is a number \(-1\)"),
        ({"training": entries(["x", "x"])}, r"it has one class only \(x\)"),
        ({}, "it lists no case with a class"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, content: dict, problem: str) -> None:
    write(tmp_path, content)
    with pytest.raises(UserError, match=problem) as caught:
        class_names(str(tmp_path))
    assert "\n" not in str(caught.value) and "Fix:" in str(caught.value)


def test_mistakes_of_one_kind_are_one_line_and_all_kinds_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"training": [{"image": "a.nii.gz"}, {"image": "b.nii.gz"}, {"image": "z.nii.gz", "class": "x"}]})
    problems = [str(problem) for problem in read_class_list(tmp_path).problems]
    assert len(problems) == 2 and "(and 1 more like it)" in problems[0]
    with pytest.raises(UserError, match="2 problems were found"):
        class_names(str(tmp_path))


def test_no_list_and_a_class_without_a_case(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(UserError, match=r"dataset.json: there is no such list"):
        class_names(str(tmp_path))
    write(tmp_path, {"training": entries(["x", "y"]), "validation": entries(["x"], "c")})
    with pytest.raises(UserError, match="the class x is none of y, z"):
        class_names(str(tmp_path), classes=["y", "z"])
    with pytest.raises(UserError, match="no case of the class z is left for training"):
        class_cases(str(tmp_path), "training", names=["x", "y", "z"])
    class_cases(str(tmp_path), "training", names=["x", "y"])
    said = capsys.readouterr().out
    assert "2 cases for training (x 1, y 1)" in said and "no case of y is for validation" in said


def test_every_class_is_drawn_equally_often() -> None:
    cases = [{"label": 0}] * 6 + [{"label": 1}] * 2 + [{"label": 2}]
    assert class_weights(cases) == [1 / 6] * 6 + [1 / 2] * 2 + [1.0]
    torch.manual_seed(0)
    drawn: Counter[int] = Counter()
    for _ in range(400):
        epoch = list(class_sampler(cases))
        assert len(epoch) == 9
        drawn.update(cases[index]["label"] for index in epoch)
    # 3600 draws, 1200 of each class expected, standard deviation 28
    assert all(abs(drawn[label] - 1200) < 120 for label in (0, 1, 2))
    assert sorted(class_sampler(cases, balanced=False)) == list(range(9))
