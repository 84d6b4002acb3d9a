"""Which configs can be combined, and what is said where they cannot."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from command_lines import merged
from monai.bundle import ConfigParser

from bundle.arguments import overlays
from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import shipped, shipped_path
from bundle.arguments.overlays import check_order, keys_of
from bundle.errors import UserError


def test_an_overlay_needs_what_it_lies_on() -> None:
    with pytest.raises(UserError, match=r"weights_real.json.* Fix: give weights.json before it"):
        merged("train", "weights_real")
    assert merged("train", "weights", "weights_real")["max_epochs"] == 45
    # what an overlay lies on may be changed by it, and not the other way round
    assert merged("train", "phantom_study", "finetune")["lr_step"] == 100
    with pytest.raises(UserError, match=r"finetune.json and phantom_study.json: both set max_epochs.* Fix: give finetune.json after"):
        merged("train", "finetune", "phantom_study")


@pytest.mark.parametrize("network", ["vnet", "segresnet", "dynunet", "unetr", "swin_unetr", "monai_attention_unet", "dense_vnet"])
@pytest.mark.parametrize("small", ["phantom_study", "quickstart"])
def test_another_network_in_a_small_study_is_that_network(small: str, network: str) -> None:
    """The study's channels are those of our network: another one comes after it, whole, and takes the rest of the study."""
    study = merged("train", small, network)
    assert study["network_def"] == shipped(network)["network_def"] and study["spacing"] == shipped(small)["spacing"]
    with pytest.raises(UserError, match=f"{network}.json and {small}.json: both set .* Fix: give {network}.json after {small}.json"):
        merged("train", network, small)


def test_a_key_of_a_network_that_another_overlay_replaces() -> None:
    fix = "leave one of the two out: vnet.json replaces network_def; give as keys what else large_patches.json sets"
    said = f"both set network_def#checkpointing.* Fix: {fix}"
    for names in (("vnet", "large_patches"), ("large_patches", "vnet")):
        with pytest.raises(UserError, match=said):
            merged("train", *names)


def test_a_key_that_another_overlay_leaves_without_effect_is_named(tmp_path: Path) -> None:
    """The schedule of quickstart.json knows no steps."""
    content = {"+overlays": {"steps": ["train"]}, "lr_step": 7}
    files = [str(shipped_path(name)) for name in ("train", "quickstart")] + [str(tmp_path / "steps.json")]
    (tmp_path / "steps.json").write_text(json.dumps(content))
    parser = ConfigParser(ConfigParser.load_config_files(files))
    with pytest.raises(UserError, match=r"its key lr_step would have no effect together with quickstart.json"):
        overlays.check(parser, CommandLine({"config_file": json.dumps(files)}))


@pytest.mark.parametrize("gpu", [[], ["GPU=1"]])
def test_what_make_weights_gives_together_combines(gpu: list[str], repository: Path) -> None:
    told = subprocess.run(["make", "--dry-run", "weights", *gpu], cwd=repository, capture_output=True, text=True, check=True).stdout
    lists = re.findall(r'training --config_file "(\[.*?\])"', told)
    assert len(lists) == 2
    for files in lists:
        names = [Path(file).stem for file in re.findall(r"'(.*?)'", files)]
        assert names[:2] == ["train", "weights"] and ("gpu_augmentation" in names) == bool(gpu)
        assert merged(*names)["batch_size"] == (4 if gpu else 2)


def test_an_overlay_names_the_config_that_it_cannot_be_with() -> None:
    (excluded,) = [base.removeprefix("not ") for base in shipped("attention_figures")["+overlays"]["attention_figures"] if "not " in base][
        :1
    ]
    with pytest.raises(UserError, match=rf"attention_figures.json: it cannot be combined with {excluded}.json"):
        merged("train", excluded, "attention_figures")


def test_order_is_looked_at_before_anything_is_merged(tmp_path: Path) -> None:
    """MONAI cannot add to a list that is not there."""
    paths = {name: str(shipped_path(name)) for name in ("train", "inference", "finetune")}
    check_order([paths["train"], paths["finetune"]])
    for files in ([paths["finetune"], paths["train"]], [paths["inference"], paths["finetune"]], [paths["finetune"]]):
        with pytest.raises(UserError, match=r"finetune.json: .* Fix: give train.json or phantom_study.json before it"):
            check_order(files)
    (tmp_path / "mine.json").write_text('{"spacing": [1, 1, 1]}')
    check_order([str(tmp_path / "mine.json")])


def test_a_key_on_the_command_line_decides_between_two(tmp_path: Path) -> None:
    files = []
    for name, value in (("one", 1), ("two", 2)):
        files.append(str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps({"+overlays": {name: ["train"]}, "max_epochs": value}))
    files.insert(0, str(shipped_path("train")))
    parser = ConfigParser(ConfigParser.load_config_files(files))
    typed = {"config_file": json.dumps(files)}
    with pytest.raises(UserError, match=r"one.json and two.json: both set max_epochs.* or give --max_epochs yourself"):
        overlays.check(parser, CommandLine(typed))
    overlays.check(parser, CommandLine({**typed, "max_epochs": "3"}))


def test_what_an_overlay_adds_is_no_key_that_it_sets() -> None:
    assert keys_of({"+train#handlers": [1], "_desc_": "x", "train#trainer#max_epochs": 2}) == {"train::trainer::max_epochs": 2}
