"""configs/train.json: the paper's settings, and short trainings through MONAI's own workflow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow

from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import users_mistake
from bundle.errors import UserError
from bundle.handlers.training.epoch_table import read_table

SMALL = {"network_def#channels": [2, 2, 4, 4, 4], "patch_size": [16, 16, 16], "num_workers": 0, "max_epochs": 2, "val_interval": 1}
ORGANS = "spleen right_kidney left_kidney gallbladder esophagus liver stomach aorta ivc veins pancreas right_adrenal left_adrenal".split()


@pytest.fixture(scope="module")
def cases(tmp_path_factory, write_cases) -> Path:
    return write_cases(tmp_path_factory.mktemp("cases") / "data", range(1, 4))


def train(repository: Path, dataset: Path, out: Path, overlays: tuple[str, ...] = (), **overrides):
    """A short training in this process, as from a notebook; gives the workflow."""
    files = [str(shipped_path(name)) for name in ("train", *overlays)]
    folders = {"dataset_dir": str(dataset), "output_dir": str(out), "ckpt_dir": str(out / "models"), "cache_dir": str(out / "cache")}
    workflow = create_workflow(config_file=files, workflow_type="train", logging_file=False, **{**SMALL, **folders, **overrides})
    workflow.run()
    workflow.finalize()
    return workflow


def weights(path: Path) -> torch.Tensor:
    state = torch.load(path, weights_only=True)
    return torch.cat([value.flatten().float() for value in state.get("model", state).values()])


def parsed(repository: Path, *overlays: str) -> ConfigParser:
    return ConfigParser(ConfigParser.load_config_files([str(shipped_path(name)) for name in ("train", *overlays)]))


def test_settings_are_the_papers(repository):
    """What Oktay et al. 2018 (arXiv 1804.03999, section 3) states: 2.00 mm isotropic, batches of 2 to 4, Adam, affine
    transformations, random crops and axial flips, and the Dice loss over all classes (its value is the next test but two)."""
    config = parsed(repository)
    assert config["spacing"] == [2.00] * 3
    assert 2 <= config["batch_size"] <= 4
    assert type(config.get_parsed_content("optimizer")) is torch.optim.Adam
    affine, *flips = config["train#random_transforms"]
    assert affine["_target_"].endswith("RandCropAffined")
    assert [(flip["_target_"], flip["spatial_axis"]) for flip in flips] == [("RandFlipd", 0), ("RandFlipd", 1)]
    assert (config["loss#_target_"], config["loss#include_background"]) == ("DiceLoss", True)


def test_settings_are_the_authors_codes_where_the_paper_is_silent(repository):
    """`configs/config_unet_ct_multi_att_dsv.json` and `utils`/`dataio` of github.com/ozan-oktay/Attention-Gated-Networks."""
    config = parsed(repository)
    assert config["patch_size"] == [160, 160, 96]
    assert (config["batch_size"], config["max_epochs"]) == (2, 1000)
    affine = config["train#random_transforms"][0]
    assert (affine["rotate_degrees"], affine["shift"], affine["scale"]) == (15, 0.1, [0.7, 1.3])
    assert config["flip_prob"] == 0.5
    optimizer, scheduler = config.get_parsed_content("optimizer"), config.get_parsed_content("lr_scheduler")
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-4, 1e-6)
    assert (scheduler.step_size, scheduler.gamma) == (250, 0.1)


def test_settings_of_our_own(repository):
    """Choices that neither the paper nor its code makes: a change of them is a change of what others rely on."""
    config = parsed(repository)
    assert config["labels"] == {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}
    assert (config["gradient_averaging"], config["affine_prob"]) == (1, 1.0)
    assert type(config.get_parsed_content("network_def")).__name__ == "AttentionUnet"


@pytest.mark.numeric
def test_loss_is_dice_over_all_classes_with_softmax(repository):
    """Two voxels, four classes, equal logits: each class present scores 2 * 0.25 / (0.5 + 1), each absent one 0."""
    loss = parsed(repository).get_parsed_content("loss")(torch.zeros(1, 4, 2, 1, 1), torch.tensor([0, 1]).reshape(1, 1, 2, 1, 1))
    assert loss.item() == pytest.approx(1 - 2 * (2 * 0.25 / 1.5) / 4, abs=1e-3)


def test_preprocessing_is_that_of_inference(repository):
    """The same transforms with the same arguments, the label's aside."""
    ours = parsed(repository)["train#preprocessing_transforms"][:-1]
    config = json.loads((repository / "configs" / "inference.json").read_text(encoding="utf-8"))
    theirs = [config[step[1:]] if isinstance(step, str) else step for step in config["preprocessing"]["transforms"]]
    for trained, inferred in zip(ours, theirs, strict=True):
        for key, value in inferred.items():
            mine = trained[key]
            assert value in (mine, mine[0] if isinstance(mine, list) else mine), f"{trained['_target_']}: {key}"
        assert set(trained) == set(inferred)


def test_handlers_are_what_monai_label_reads(repository):
    """A literal list, no handler of the name `CheckpointLoader`, the best weights as `model.pt`, `network` at the top."""
    config = json.loads((repository / "configs" / "train.json").read_text(encoding="utf-8"))
    assert isinstance(config["train"]["handlers"], list) and "network" in config and "displayable_configs" not in config
    assert all(handler["_target_"] != "CheckpointLoader" for handler in config["train"]["handlers"])
    saver = config["saver"]
    assert saver["_target_"].endswith("CheckpointSaver") and saver["save_dict"] == {"model": "@network"}
    assert saver["key_metric_filename"] == "model.pt" and config["ckpt_dir"] == "$@bundle_root + '/models'"
    assert config["run"][-1] == "$@train#trainer.run()" and config["training"] == "@run"


def test_a_training_from_another_folder_leaves_what_it_should(repository, cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(repository, cases, tmp_path / "out")
    out = tmp_path / "out"
    rows = read_table(out / "training.csv")
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for column in ("train_loss", "val_loss", "val_dice", "val_dice_pancreas", "val_dice_kidney", "seconds"):
        assert all(float(row[column]) >= 0 for row in rows), column
    assert len(torch.load(out / "models" / "model.pt", weights_only=True)) > 50
    assert torch.load(out / "last.pt", weights_only=True)["epoch"] == 2
    assert len(list((out / "previews").glob("epoch_*.png"))) == 2
    assert list((out / "tensorboard").glob("events*"))
    assert len(list((out / "cache").glob("*.pt"))) == 5
    # nothing anywhere else
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


@pytest.mark.numeric
def test_same_seed_same_weights_whatever_the_workers(repository, cases, tmp_path):
    train(repository, cases, tmp_path / "a")
    train(repository, cases, tmp_path / "b", num_workers=2)
    train(repository, cases, tmp_path / "c", seed=1)
    a, b, c = (weights(tmp_path / name / "last.pt") for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.numeric
def test_resumed_training_equals_an_uninterrupted_one(repository, cases, tmp_path):
    train(repository, cases, tmp_path / "whole", max_epochs=3)
    train(repository, cases, tmp_path / "parts", max_epochs=1)
    train(repository, cases, tmp_path / "parts", max_epochs=3, resume=True)
    assert torch.equal(weights(tmp_path / "whole" / "last.pt"), weights(tmp_path / "parts" / "last.pt"))
    whole, parts = (read_table(tmp_path / name / "training.csv") for name in ("whole", "parts"))
    same = [name for name in whole[0] if not name.endswith("seconds")]
    assert [[row[name] for name in same] for row in whole] == [[row[name] for name in same] for row in parts]


@pytest.mark.slow
def test_killed_training_goes_on_with_the_same_command(repository, cases, tmp_path):
    """SIGKILL in mid-run, then the same command with `--resume True`: bit by bit the weights of a run that was left alone."""

    def command(out, *more):
        keys = {**SMALL, "max_epochs": 6, "dataset_dir": cases, "output_dir": out, "ckpt_dir": out, "cache_dir": tmp_path / "cache"}
        arguments = [part for key, value in keys.items() for part in (f"--{key}", str(value))]
        config = str(repository / "configs" / "train.json")
        return [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", config, *arguments, *more]

    environment = {**os.environ, "PYTHONPATH": str(repository)}
    subprocess.run(command(tmp_path / "whole"), env=environment, check=True, capture_output=True)
    process = subprocess.Popen(command(tmp_path / "killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(read_table(tmp_path / "killed" / "training.csv")) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it was killed"
    subprocess.run(command(tmp_path / "killed", "--resume", "True"), env=environment, check=True, capture_output=True)
    for name in ("last.pt", "model.pt"):
        assert torch.equal(weights(tmp_path / "whole" / name), weights(tmp_path / "killed" / name)), name
    assert [row["epoch"] for row in read_table(tmp_path / "killed" / "training.csv")] == list("123456")


def test_cases_written_while_it_trains_are_taken_up(repository, cases, tmp_path):
    items = [{"image": f"imagesTr/{path.name}", "label": f"labelsTr/{path.name}"} for path in sorted((cases / "imagesTr").iterdir())]
    chosen = tmp_path / "list.json"
    chosen.write_text(json.dumps({"training": items[:1], "validation": items[-1:]}))
    files = [str(repository / "configs" / "train.json")]
    folders = {name: str(tmp_path / name) for name in ("output_dir", "ckpt_dir", "cache_dir")}
    folders |= {"dataset_dir": str(cases), "datalist": str(chosen)}
    options = {**SMALL, **folders, "grow": True, "batch_size": 1, "patch_size": [32, 32, 32]}
    workflow = create_workflow(config_file=files, workflow_type="train", logging_file=False, **options)
    chosen.write_text(json.dumps({"training": items[:2], "validation": items[-1:]}))
    workflow.run()
    trainer = workflow.trainer
    assert (trainer.state.epoch, trainer.state.epoch_length, trainer.state.iteration) == (2, 2, 4)


def test_test_part_gets_columns_of_its_own(repository, cases, tmp_path):
    train(repository, cases, tmp_path, max_epochs=1, with_test=True, num_folds=4, patch_size=[32, 32, 32])
    row = read_table(tmp_path / "training.csv")[0]
    assert float(row["test_loss"]) > 0 and row["test_dice_spleen"] != ""


def test_pancreas_only_needs_the_labels_block_and_nothing_else(repository, write_cases, tmp_path):
    """dataset.json names the other values, so leaving them out is no mistake."""
    names = {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney"}
    dataset = write_cases(tmp_path / "data", range(1, 4), names=names)
    workflow = train(repository, dataset, tmp_path / "out", max_epochs=1, labels={"background": 0, "pancreas": 1})
    assert workflow.network_def.out_channels == 2
    assert set(np.unique(workflow.val_dataset[0]["label"])) == {0, 1}
    assert "val_dice_pancreas" in read_table(tmp_path / "out" / "training.csv")[0]


def test_thirteen_organs_need_the_labels_block_and_nothing_else(repository, write_cases, tmp_path):
    dataset = write_cases(tmp_path / "data", range(1, 14))
    labels = {"background": 0, **{name: value for value, name in enumerate(ORGANS, start=1)}}
    workflow = train(repository, dataset, tmp_path / "out", max_epochs=1, labels=labels)
    assert workflow.network_def.out_channels == 14
    assert [name for name in read_table(tmp_path / "out" / "training.csv")[0] if name.startswith("val_dice_")] == [
        f"val_dice_{name}" for name in ORGANS
    ]


def test_unknown_label_value_stops_before_training(repository, write_cases, tmp_path):
    dataset = write_cases(tmp_path / "data", range(1, 5))
    with pytest.raises(RuntimeError) as caught:
        train(repository, dataset, tmp_path / "out")
    chain, error = [], caught.value
    while error is not None:
        chain, error = [*chain, error], error.__cause__
    told = "\n".join(str(error) for error in chain if isinstance(error, UserError))
    assert "case_0" in told and "values that are not in labels: 4 (" in told
    assert not (tmp_path / "out" / "last.pt").exists()


@pytest.mark.parametrize("override", [{"loss#_target_": "DiceCELoss"}, {"loss#_target_": "DiceFocalLoss", "loss#gamma": 0.0}])
def test_loss_changes_by_an_override(repository, cases, tmp_path, override):
    workflow = train(repository, cases, tmp_path, max_epochs=1, **override)
    assert type(workflow.trainer.loss_function.loss).__name__ == override["loss#_target_"]
    assert float(read_table(tmp_path / "training.csv")[0]["val_loss"]) > 0


@pytest.mark.numeric
def test_gradient_averaging_steps_once_per_group(repository, cases, tmp_path):
    """4 cases in batches of 1, averaged over 4: one step of Adam an epoch."""
    train(repository, cases, tmp_path, max_epochs=2, batch_size=1, gradient_averaging=4, patch_size=[32, 32, 32])
    state = torch.load(tmp_path / "last.pt", weights_only=True)["optimizer"]["state"]
    assert {int(entry["step"]) for entry in state.values()} == {2}


def test_quickstart_is_a_thin_overlay(repository):
    """Keys of train.json only, and nothing that would overwrite the shipped weights."""
    overlay = json.loads((shipped_path("quickstart")).read_text(encoding="utf-8"))
    train_json = json.loads((repository / "configs" / "train.json").read_text(encoding="utf-8"))
    assert all(key.lstrip("+").split("#")[0] in train_json for key in overlay) and len(overlay) < 20
    assert parsed(repository, "quickstart").get_parsed_content("ckpt_dir").endswith("runs/quickstart")


@pytest.mark.numeric
def test_numbers_that_are_not_finite_end_the_training_and_nothing_is_replaced(repository, cases, tmp_path):
    train(repository, cases, tmp_path, max_epochs=1)
    before = {name: (tmp_path / name).read_bytes() for name in ("last.pt", "models/model.pt")}
    with pytest.raises(RuntimeError) as caught:
        train(repository, cases, tmp_path, resume=True, **{"optimizer#lr": float("inf")})
    told = str(users_mistake(caught.value))
    assert re.match(
        r"training, epoch 2, step 1: \d+ of \d+ weights are not finite after the step, .*; scans of this batch: \S+\.nii\.gz, ", told
    )
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_resuming_with_labels_in_another_order_is_refused(repository, cases, tmp_path):
    """As many classes, so that the weights would fit: each structure would go on in another one's channel."""
    train(repository, cases, tmp_path, max_epochs=1)
    with pytest.raises(RuntimeError) as caught:
        train(repository, cases, tmp_path, resume=True, labels={"background": 0, "kidney": 3, "spleen": 2, "pancreas": 1})
    assert re.search(r"last\.pt: .* other settings: labels was .*'pancreas': 1.*, is .*'kidney': 3.* now", str(users_mistake(caught.value)))
