"""Synthetic CT of a known class."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bundle.data.synthetic import classes
from bundle.data.synthetic.classes import class_of, make_scan, phantom_classes, section_of
from bundle.errors import UserError


def _stand_in(of: str, seed: int, index: int) -> np.ndarray:
    return np.full((4, 4, 4), index, np.int16)


def test_a_list_with_every_class_in_every_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "make_scan", _stand_in)
    phantom_classes(str(tmp_path / "set"), of="region", cases=26, jobs=1)
    content = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert content["classes"] == ["pelvis", "abdomen", "thorax"]
    # 26 = 2 rounds of 4 x 3, and 2 more for training
    assert {name: len(content[name]) for name in ("training", "validation", "test")} == {"training": 14, "validation": 6, "test": 6}
    assert Counter(entry["class"] for entry in content["validation"]) == {"pelvis": 2, "abdomen": 2, "thorax": 2}
    assert content["validation"][0] == {"image": "./images/region_0003.nii.gz", "class": "pelvis"}
    assert all((tmp_path / "set" / entry["image"]).is_file() for name in ("training", "validation", "test") for entry in content[name])


def test_existing_scans_stay_and_another_seed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "make_scan", _stand_in)
    phantom_classes(str(tmp_path / "set"), of="phase", cases=16, jobs=1)
    first = tmp_path / "set" / "images" / "phase_0000.nii.gz"
    first.write_bytes(b"kept")
    phantom_classes(str(tmp_path / "set"), of="phase", cases=17, jobs=1)
    assert first.read_bytes() == b"kept" and (tmp_path / "set" / "images" / "phase_0016.nii.gz").is_file()
    with pytest.raises(UserError, match="another data set"):
        phantom_classes(str(tmp_path / "set"), of="phase", cases=16, seed=1, jobs=1)


def test_classes_and_sections_take_turns() -> None:
    assert [class_of("phase", index) for index in range(5)] == ["none", "arterial", "portal", "delayed", "none"]
    assert [section_of("phase", index) for index in (0, 3, 4, 8, 12, 16)] == [
        "training",
        "training",
        "validation",
        "training",
        "test",
        "training",
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [({"of": "organ"}, "--of: 'organ'"), ({"cases": 15}, "--cases: 15 is too few"), ({"seed": -1}, "--seed: -1")],
)
def test_mistakes_are_one_line(tmp_path: Path, keys: dict, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        phantom_classes(str(tmp_path / "set"), **keys)


@pytest.mark.slow
def test_what_a_class_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lung is in the thorax alone; only with contrast is anything as bright as blood with iodine and not as dense as bone."""
    monkeypatch.setattr(classes, "SPACING", (6.0, 6.0, 3.0))
    pelvis, abdomen, thorax = (make_scan("region", 3, index) for index in range(3))

    def lung(image: np.ndarray) -> float:
        inside = image[image.shape[0] // 4 : -image.shape[0] // 4, image.shape[1] // 3 : -image.shape[1] // 3]
        return float(((inside > -920) & (inside < -700)).mean())

    assert lung(thorax) > 0.2 and lung(pelvis) < 0.1 and lung(abdomen) < 0.1
    none, arterial = make_scan("phase", 3, 0), make_scan("phase", 3, 1)
    bright = [float(((image > 130) & (image < 250)).sum() / (image > -200).sum()) for image in (none, arterial)]
    assert bright[1] > 1.3 * bright[0]


def test_its_scans_are_known_by_their_names(tmp_path):
    assert all(re.fullmatch(classes.SCANS, classes._path(tmp_path, of, 12345).name) for of in classes.CLASSES)
