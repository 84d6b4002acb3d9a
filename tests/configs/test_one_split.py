"""Training and scoring use one split, whatever overlays and keys say: no scored case was trained on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from bundle.arguments.config import shipped_names, shipped_path
from bundle.data.datalist import datalist
from bundle.data.splits import Split
from bundle.errors import UserError
from bundle.evaluation import experiment as module
from bundle.evaluation.experiment import experiment

NOT_OVER_TRAINING = ("train", "inference", "evaluate", "metadata")
CONFIGS = [shipped_path(name) for name in shipped_names()]
OVERLAYS = [str(path) for path in CONFIGS if path.stem not in NOT_OVER_TRAINING and "inference" not in (*path.parts, path.stem[:9])]


def _stack(overlay: str | None) -> list[str]:
    """The overlay, behind the one that it lies on where that is not train.json."""
    if overlay is None:
        return []
    bases = json.loads(Path(overlay).read_text(encoding="utf-8"))["+overlays"][Path(overlay).stem]
    return [*([] if "train" in bases else [str(next(path for path in CONFIGS if path.stem == bases[0]))]), overlay]


KEYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no sizes": {"num_folds": 5, "train_size": None, "test_size": None},
    "sizes": {"num_folds": 3, "train_size": 40, "test_size": 17},
    "one fold": {"num_folds": 1, "train_size": None, "test_size": 50},
    "test set": {"num_folds": 4, "with_test": True, "train_size": None, "test_size": None, "split_seed": 7},
    "seed": {"split_seed": 3},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 170 cases: listing opens no file."""
    folder = tmp_path_factory.mktemp("data")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
        for number in range(170):
            (folder / part / f"case_{number:03d}.nii.gz").touch()
    return folder


class Sections:
    """Stands for `monai.bundle run`: reads the configs that it is given and notes which cases each run would take."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Split, set[str]]] = []

    def __call__(self, command: list[str], env: dict) -> subprocess.CompletedProcess:
        what, files = command[4], json.loads(command[6])
        parser = ConfigParser(ConfigParser.load_config_files(files))
        split = Split.of(parser.get_parsed_content("split"))
        section = "training" if what == "training" else parser["section"]
        items = datalist(parser["dataset_dir"], section, parser.get_parsed_content("datalist"), **split)
        self.found.append((what, split, {item["image"] for item in items}))
        return subprocess.CompletedProcess(command, 0 if what == "training" else 1)


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=["train", *(Path(path).stem for path in OVERLAYS)])
def test_no_scored_case_was_trained_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlay: str | None, keys: str) -> None:
    sections = Sections()
    monkeypatch.setattr(module.subprocess, "run", sections)
    with pytest.raises(UserError, match="could not be segmented"):  # the stand-in predicts nothing: one fold is enough
        experiment(str(tmp_path / "out"), overlays=_stack(overlay), dataset_dir=str(data), **KEYS[keys])
    (_, trained_by, trained), (_, scored_by, scored) = sections.found
    assert trained_by == scored_by
    assert trained and scored and not trained & scored
    for key, value in KEYS[keys].items():
        assert getattr(trained_by, "seed" if key == "split_seed" else key) == value
