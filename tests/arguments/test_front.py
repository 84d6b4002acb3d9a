"""`python -m bundle run`: what is looked at before MONAI reads a config."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle.arguments.config import shipped_path
from bundle.arguments.front import run, usage


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run", "bundle run: RUN is missing."),
        ("run infrence", "infrence: no config is given for this run, did you mean inference?"),
        ("run training --config_file nothing.json", "nothing.json: there is no such config file."),
        (
            "run inference --dataset_dir %x",
            "--dataset_dir: %x begins like a macro of MONAI. Fix: for a file or folder of this name write ./%x.",
        ),
        (
            "run training --train#traner#max_epochs 3",
            "--train#traner#max_epochs: this config has no such key, did you mean train#trainer#max_",
        ),
        (
            "run training --config_file ['R/overlays/train/finetune.json','R/train.json']",
            "finetune.json: this overlay is not given after the config",
        ),
        (
            "run inference --config_file ['R/inference.json','R/overlays/train/finetune.json']",
            "finetune.json: this overlay is not given after the config",
        ),
    ],
)
def test_what_monai_would_not_say_in_one_line_is_named(verb: Callable[..., str], repository: Path, words: str, said: str) -> None:
    assert verb(*words.replace("R/", f"{repository}/configs/").split()).startswith(said)


@pytest.mark.parametrize("text", ['{"a": 1,}', "[1]", "", "null", "[" * 100_000])
def test_a_broken_config_is_named(verb: Callable[..., str], tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    assert verb("run", "training", "--config_file", "mine.json").startswith("mine.json: this config ")


def test_a_folder_that_begins_like_a_macro_is_handed_on_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "%x").mkdir()
    handed = []
    monkeypatch.setattr("runpy.run_module", lambda *_, **__: handed.append(sys.argv[1:]))
    with warnings.catch_warnings(), monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["bundle"])
        for words in (["--dataset_dir", "%x"], ["--dataset_dir=%x"]):
            run(["inference", *words])
    config = str(shipped_path("inference"))
    assert handed == [
        ["run", "inference", "--dataset_dir", "./%x", "--config_file", config],
        ["run", "inference", "--dataset_dir=./%x", "--config_file", config],
    ]


def test_a_config_of_this_bundle_is_named_where_its_path_is_not_right(verb: Callable[..., str]) -> None:
    line = verb("run", "training", "--config_file", "configs/finetune.json")
    assert line == f"configs/finetune.json: there is no such config file. Fix: this bundle's is {shipped_path('finetune')}."


def test_the_help_of_a_run_has_its_keys(verb: Callable[..., str]) -> None:
    of = {text.split(" (")[0]: text.replace("\n", " ") for text in usage().split("\n\n")}
    training, inference = (of[f"Keys of {name}"].split(": ")[1].removesuffix(".").split(", ") for name in ("training", "inference"))
    assert {"patch_size", "loss", "dataset_dir"} <= set(training) and {"keep_pieces", "structures", "dataset_dir"} <= set(inference)
    assert "keep_pieces" not in training and "patch_size" not in inference and "bundle_root" not in training
    assert "Raises" not in usage() and max(map(len, usage().splitlines())) <= 120
    # each of them is taken: what is wrong is its value, and not its name
    assert verb("run", "inference", "--keep_pieces", "many").startswith("--keep_pieces: 'many' does not fit")
