"""CT with PET by the overlay pet_ct: training, inference, evaluation, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow
from monai.losses import DiceCELoss
from monai.transforms import ResizeWithPadOrCropd

from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import users_mistake
from bundle.data.datalist import datalist
from bundle.data.synthetic.head_neck import head_neck
from bundle.evaluation.experiment import experiment
from bundle.evaluation.score import read_metrics
from bundle.handlers.training.epoch_table import read_table
from bundle.networks import AttentionUnet
from bundle.networks.weights import read_state_dict

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
SMALL = {"network_def#channels": [4, 8, 8], "spacing": [8, 8, 8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head_neck") / "data"
    head_neck(str(folder), cases=3)
    return folder


def _paths(*names: str) -> list[str]:
    return [str(shipped_path(name)) for name in names]


def _train(folder: Path, out: Path, overlays: tuple[str, ...] = ("pet_ct",), **keys: object) -> list[dict]:
    settings = {"num_workers": 0, "max_epochs": 1, "val_interval": 1, "num_folds": 3, "amp": False, "preview_cases": 1, **SMALL}
    settings |= {"patch_size": [16, 16, 16], "affine_prob": 0.5}
    folders = {"dataset_dir": str(folder), "output_dir": str(out), "ckpt_dir": str(out / "models"), "cache_dir": str(out / "cache")}
    workflow = create_workflow(
        config_file=_paths("train", *overlays), workflow_type="train", logging_file=False, **{**settings, **folders, **keys}
    )
    workflow.run()
    workflow.finalize()
    return read_table(out / "training.csv")


def _infer(out: Path, *overlays: str, **keys: object) -> dict:
    workflow = ConfigWorkflow(
        _paths("inference", *overlays),
        logging_file=False,
        workflow_type="inference",
        **{"output_dir": str(out), "previews": False, **SMALL, **keys},
    )
    workflow.initialize()
    workflow.run()
    return json.loads((out / "run.json").read_text())


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    (row,) = _train(folder, out)
    assert np.isfinite(float(row["train_loss"])) and 0 <= float(row["val_dice_tumour"]) <= 1
    return out / "models" / "model.pt"


def test_inference_and_evaluation(folder: Path, trained: Path, tmp_path: Path) -> None:
    record = _infer(tmp_path / "out", "pet_ct", dataset_dir=str(folder / "imagesTr"), ckpt_path=str(trained))
    assert [(case["case"], case["status"]) for case in record["cases"]] == [(f"hn_00{k}", "ok") for k in range(3)]
    assert record["settings"]["channels"] == [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
    found, ct = nibabel.load(tmp_path / "out/hn_000_seg.nii.gz"), nibabel.load(folder / "imagesTr/hn_000_0000.nii.gz")
    assert found.shape == ct.shape and np.array_equal(found.affine, ct.affine)
    _infer(tmp_path / "val", "evaluate", "pet_ct", dataset_dir=str(folder), ckpt_path=str(trained), num_folds=3)
    summary = json.loads((tmp_path / "val/summary.json").read_text())
    assert summary["cases"] == 1 and list(summary["structures"]) == ["tumour"]


def test_a_changed_pet_is_another_scan(folder: Path, trained: Path, tmp_path: Path) -> None:
    """The digest of a case is of all its files, so that a result belongs to both."""
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(2):
        (scans / f"a_000{number}.nii.gz").write_bytes((folder / f"imagesTr/hn_000_000{number}.nii.gz").read_bytes())
    first = _infer(tmp_path / "out", "pet_ct", dataset_dir=str(scans), ckpt_path=str(trained))["cases"][0]
    (scans / "a_0001.nii.gz").write_bytes((folder / "imagesTr/hn_001_0001.nii.gz").read_bytes())
    second = _infer(tmp_path / "out", "pet_ct", dataset_dir=str(scans), ckpt_path=str(trained))["cases"][0]
    assert first["digest"] != second["digest"]
    (scans / "a_0001.nii.gz").unlink()
    (lost,) = _infer(tmp_path / "out", "pet_ct", dataset_dir=str(scans), ckpt_path=str(trained))["cases"]
    assert lost["status"] == "failed" and "the pet of this case is missing; the network takes 2 channels (ct, pet)" in lost["error"]


def test_weights_of_another_number_of_channels_are_one_line(repository: Path, folder: Path, trained: Path, tmp_path: Path) -> None:
    for overlays, weights, words in (
        (("pet_ct",), repository / "models/model.pt", "these weights take 1 channel, and the network 2"),
        ((), trained, "these weights take 2 channels, and the network 1"),
    ):
        with pytest.raises(Exception) as caught:
            _infer(tmp_path / "out", *overlays, dataset_dir=str(folder / "imagesTr"), ckpt_path=str(weights))
        mistake = users_mistake(caught.value)
        assert mistake is not None and words in str(mistake)


def test_one_channel_has_the_steps_that_it_had() -> None:
    for name, key in (("train", "train#preprocessing_transforms"), ("inference", "preprocessing")):
        parser = ConfigParser(ConfigParser.load_config_files(_paths(name)))
        steps = parser.get_parsed_content(key)
        steps = getattr(steps, "transforms", steps)
        assert "AddChannelsd" not in [type(step).__name__ for step in steps]
        assert parser.get_parsed_content("network_def").in_channels == 1


def _volumes(folder: Path, block: list | None, listed: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network sees of all cases, (N, C, 24, 24, 32), and their labels; by the steps of train.json."""
    parser = ConfigParser(ConfigParser.load_config_files(_paths("train")))
    parser.config |= {"channels": block, "spacing": [6, 6, 6], "labels": {"background": 0, "tumour": 1}}
    steps = parser.get_parsed_content("validate#preprocessing")
    size = (24, 24, 32)
    items = [ResizeWithPadOrCropd(["image", "label"], size)(steps(item)) for item in datalist(str(folder), "all", listed, channels=block)]
    return tuple(torch.stack([item[key].as_tensor() for item in items]) for key in ("image", "label"))


def _learnt(image: torch.Tensor, label: torch.Tensor) -> float:
    """Dice of the last two cases after 60 steps on the others."""
    torch.manual_seed(0)
    network = AttentionUnet(3, image.shape[1], 2, channels=(6, 8, 8), num_gates=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    # a tumour is a hundredth of the voxels
    loss = DiceCELoss(to_onehot_y=True, softmax=True, weight=torch.tensor([1.0, 20.0]))
    for step in range(60):
        batch = slice(2 * (step % 3), 2 * (step % 3) + 2)
        optimizer.zero_grad()
        loss(network(image[batch]), label[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(image[6:]).argmax(1, keepdim=True) > 0
    return float(2 * (found & (label[6:] > 0)).sum() / (found.sum() + (label[6:] > 0).sum()).clamp(min=1))


@pytest.mark.slow
def test_two_channels_learn_what_the_ct_does_not_show(tmp_path: Path) -> None:
    """The tumour is 4 HU denser than muscle, with 20 HU of noise, and two nodes look like it: only the PET tells."""
    head_neck(str(tmp_path / "data"), cases=8)
    both = _learnt(*_volumes(tmp_path / "data", BLOCK, None))
    alone = _learnt(*_volumes(tmp_path / "data", None, str(tmp_path / "data/ct.json")))
    assert both > 0.3 and alone < 0.1


@pytest.mark.slow
def test_an_experiment_of_two_folds(tmp_path: Path) -> None:
    """As in docs/channels.md, in small: the channels reach every training, evaluation and the timed pass."""
    head_neck(str(tmp_path / "data"), cases=2)
    keys = {**SMALL, "patch_size": [16, 16, 16], "num_workers": 0, "max_epochs": 1, "num_folds": 2, "preview_cases": 0}
    folders = {"dataset_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache")}
    summary = experiment(str(tmp_path / "out"), overlays="pet_ct", **keys, **folders)
    assert summary is not None and summary["cases"] == 2 and list(summary["structures"]) == ["tumour"]
    assert {row["case"] for row in read_metrics(tmp_path / "out" / "metrics.csv")} == {"hn_000", "hn_001"}
    known = json.loads((tmp_path / "out" / "experiment.json").read_text(encoding="utf-8"))
    assert known["forward"]["size"] == [16, 16, 16] and known["forward"]["seconds"] > 0
    first = read_state_dict(tmp_path / "out" / "fold_1" / "last.pt")["encoder.0.0.conv.weight"]
    assert first.shape[1] == 2 and known["config"]["channels"] == BLOCK
