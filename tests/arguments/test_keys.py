"""Keys that nothing uses: the line that they end with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_lines import INFER, TRAIN, merged, shown

from bundle.arguments import keys
from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import shipped_path
from bundle.errors import UserError


def over(base: str, overlay: str) -> list[str]:
    """The words of a run with an overlay."""
    run = "training" if base == "train" else base
    return [run, "--config_file", str([str(shipped_path(name)) for name in (base, overlay)])]


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        ([*TRAIN, "--learing_rate", "0.1"], "--learing_rate", "did you mean learning_rate?"),
        ([*TRAIN, "--learing-rate=0.1"], "--learing_rate", "did you mean learning_rate?"),
        ([*INFER, "--dataset_dri", "x"], "--dataset_dri", "did you mean dataset_dir?"),
        ([*TRAIN, "--train#trainer#max_epoch", "3"], "--train#trainer#max_epoch", "did you mean max_epochs?"),
        ([*TRAIN, "--optimizer#lrr", "1"], "--optimizer#lrr", "torch.optim.Adam has no argument lrr, did you mean lr?"),
        ([*INFER, "--network_def::num_gate", "1"], "--network_def#num_gate", "did you mean num_gates?"),
        ([*INFER, "--displayable_configs#memory", "1"], "--displayable_configs#memory", "did you mean"),
        ([*TRAIN, "--overwrite", "true"], "--overwrite", "would have no effect"),
        (
            ["training", "--config_file", "['configs/train.json','configs/overlays/experiments/quickstart.json']", "--lr_step", "3"],
            "--lr_step",
            "no effect",
        ),
        ([*over("inference", "inference_classify"), "--spacing", "3,3,3"], "--spacing", "nothing in these configs uses this key"),
        ([*over("inference", "inference_classify"), "--flips", "true"], "--flips", "nothing in these configs uses this key"),
        ([*over("inference", "inference_classify"), "--network_def#num_gates", "1"], "--network_def#num_gates", "nothing in these configs"),
        ([*over("inference", "quickstart"), "--max_epochs", "3"], "--max_epochs", "nothing in these configs uses this key"),
        ([*over("inference", "dense_vnet"), "--lambda_ce", "2"], "--lambda_ce", "nothing in these configs uses this key"),
        (["trainig", *TRAIN[1:]], "trainig", "did you mean training?"),
        ([*INFER, "--dataset_dir", "my", "old", "scans"], "old", "between quotes"),
        ([*TRAIN, "--dataset_dir", "my", "scans"], "scans", "between quotes"),
    ],
    ids=shown,
)
def test_a_key_without_effect_is_named_with_the_nearest(refused: Any, words: list[str], key: str, said: str) -> None:
    refused(words, key, said)


def test_a_slip_in_a_config_file_is_named_and_a_note_is_not(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"learning_rat": 1, "why": "a note"}))
    configs = f"['configs/train.json', '{tmp_path / 'mine.json'}']"
    line = typed("training", "--config_file", configs)
    assert line.startswith("learning_rat: nothing uses this key of your config, did you mean learning_rate?")


@pytest.mark.parametrize("names", [("inference", "inference_classify"), ("inference", "quickstart"), ("inference", "dense_vnet")])
def test_what_files_set_without_effect_is_no_mistake(names: tuple[str, ...]) -> None:
    """Overlays serve training and inference both, and lie on a base of which they use a part."""
    keys.check(merged(*names), CommandLine({"config_file": str([str(shipped_path(name)) for name in names]), "dataset_dir": "x"}))


def test_a_key_of_a_file_that_nothing_uses_is_called_so(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"why": "a note", "more": "@why"}))
    configs = f"['configs/train.json', '{tmp_path / 'mine.json'}']"
    assert typed("training", "--config_file", configs, "--why", "x").startswith("--why: nothing in these configs uses this key")


def test_the_nearest_name_and_none_where_none_is_near() -> None:
    assert keys.nearest("learing_rate", ["learning_rate", "max_epochs"]) == ", did you mean learning_rate?"
    assert keys.nearest("train::traner", ["train::trainer"]) == ", did you mean train#trainer?"
    assert keys.nearest("zzz", ["learning_rate"]) == ""


def test_a_nested_key_needs_its_outer_part() -> None:
    config = {"train": {"handlers": [{"_target_": "x"}]}}
    for key in ("train::handlers::0::_disabled_", "train::new", "new"):
        keys.check_nested(config, CommandLine({key: "1"}))
    for key in ("train::handlers::1::x", "trian::handlers::0", "train::handlers::last::x"):
        with pytest.raises(UserError, match="this config has no such key"):
            keys.check_nested(config, CommandLine({key: "1"}))
