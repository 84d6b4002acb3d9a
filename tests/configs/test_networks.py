"""Every overlay of trainings and experiments trains one epoch; those that change the network are followed by inference.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, create_workflow

from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import users_mistake
from bundle.handlers.training.epoch_table import read_table
from bundle.networks import AttentionUnet
from bundle.networks.weights import read_state_dict

OURS = {"network_def#channels": [2, 4, 4, 4]}
# overlay: keys that keep it small here, its patch
SMALL: dict[str, tuple[dict[str, object], int]] = {
    "monai_attention_unet": ({"network_def#channels": [2, 4, 4, 4, 4]}, 24),
    "paper": (OURS, 16),
    "attention_everywhere": (OURS, 16),
    "residual_blocks": (OURS, 16),
    "dense_blocks": (OURS, 16),
    "dense_vnet": ({"network_def#growth": [2, 2, 2], "network_def#units": [1, 1, 1]}, 16),
    "vnet": ({}, 32),
    "segresnet": ({"network_def#init_filters": 8}, 16),
    "dynunet": ({"network_def#filters": [4, 4, 4, 4, 4]}, 40),
    "unetr": (
        {"network_def#img_size": [32, 32, 32], "network_def#hidden_size": 12, "network_def#mlp_dim": 12, "network_def#num_heads": 3},
        32,
    ),
    "swin_unetr": ({"network_def#feature_size": 12}, 48),
    "fine_resolution": (OURS, 16),
    "large_patches": ({**OURS, "patch_size": [32, 32, 32]}, 32),
    "large_batches": ({**OURS, "batch_size": 3}, 16),
    "pancreas_alone": (OURS, 16),
    "without_other_organs": (OURS, 16),
    "coarse": ({**OURS, "spacing": [5.0, 5.0, 5.0]}, 16),
}
SLOW = {"vnet", "swin_unetr"}
# trained in other files of this folder, as they need other data, or a package in a stand-in
ELSEWHERE = {"classify": "test_classify.py", "pet_ct": "test_pet_ct.py", "wandb": "test_wandb.py"}
FOLDER = Path(__file__).resolve().parents[2] / "configs" / "overlays"
TRAINED = {file.stem for kind in ("experiments", "train") for file in (FOLDER / kind).glob("*.json")}
# the rest, each with what it lies on, and studies with another network
STUDIES = [("phantom_study", "unet_6m"), ("phantom_study", "dense_vnet")]
ON_WEIGHTS = ("weights_real", "weights_gpu", "student")
REST = [("weights", name) if name in ON_WEIGHTS else (name,) for name in sorted(TRAINED - set(SMALL) - set(ELSEWHERE))] + STUDIES


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, write_cases: Callable) -> Path:
    names = {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney"}
    return write_cases(tmp_path_factory.mktemp("cases") / "data", range(1, 4), count=3, names=names)


def paths(*names: str) -> list[str]:
    return [str(shipped_path(name)) for name in names]


def _train(overlay: str, cases: Path, out: Path, **keys: object) -> None:
    small, patch = SMALL[overlay]
    keys = {"patch_size": [patch] * 3, "num_workers": 0, "max_epochs": 1, "val_interval": 1, "num_folds": 3, "amp": False, **small, **keys}
    folders = {"dataset_dir": str(cases), "output_dir": str(out), "ckpt_dir": str(out / "models"), "cache_dir": str(out / "cache")}
    files = paths("train", overlay)
    workflow = create_workflow(config_file=files, workflow_type="train", logging_file=False, **{**folders, **keys})
    workflow.run()
    workflow.finalize()


@pytest.mark.parametrize("overlay", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SMALL])
def test_one_epoch_and_inference(overlay: str, cases: Path, tmp_path: Path) -> None:
    _train(overlay, cases, tmp_path / "run")
    row = read_table(tmp_path / "run" / "training.csv")[0]
    assert np.isfinite(float(row["train_loss"])) and 0 <= float(row["val_dice"]) <= 1
    assert float(row["train_seconds"]) > 0 and float(row["val_seconds"]) > 0
    over_inference = [] if overlay.startswith(("large", "coarse")) else [overlay]
    small = {key: value for key, value in SMALL[overlay][0].items() if key.startswith(("network_def", "spacing"))}
    scan = cases / "imagesTr" / "case_0.nii.gz"
    workflow = ConfigWorkflow(
        paths("inference", *over_inference),
        logging_file=False,
        workflow_type="inference",
        dataset_dir=str(scan),
        output_dir=str(tmp_path / "out"),
        ckpt_path=str(tmp_path / "run" / "models" / "model.pt"),
        previews=False,
        **small,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    assert [case["status"] for case in json.loads((tmp_path / "out" / "run.json").read_text())["cases"]] == ["ok"]
    found = nibabel.load(tmp_path / "out" / "case_0_seg.nii.gz")
    assert found.shape == (20, 20, 20) and np.asarray(found.dataobj).max() <= 3


def test_a_patch_that_unetr_does_not_take_is_one_line(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:
        _train("unetr", cases, tmp_path, patch_size=[16, 16, 16])
    mistake = users_mistake(caught.value)
    assert mistake is not None and "[32, 32, 32] only, this one has [16, 16, 16]" in str(mistake)


@pytest.mark.parametrize("names", REST, ids=" ".join)
def test_one_epoch(names: tuple[str, ...], cases: Path, tmp_path: Path) -> None:
    keys: dict[str, object] = {
        "patch_size": [16] * 3,
        "num_workers": 0,
        "max_epochs": 1,
        "val_interval": 1,
        "amp": False,
        "preview_cases": 0,
    }
    one_fold = any("train_size" in json.loads(shipped_path(name).read_text()) for name in names)
    keys |= {"train_size": 2, "test_size": 1} if one_fold else {"num_folds": 2}
    keys |= SMALL["dense_vnet"][0] if "dense_vnet" in names else {"network_def#channels": [2, 4, 4]}
    if "attention_figures" in names:
        keys["figure_epochs"] = [1]
    if "finetune" in names:
        torch.save(AttentionUnet(channels=(2, 4, 4), num_gates=0).state_dict(), tmp_path / "unet.pt")
        keys["pretrained"] = str(tmp_path / "unet.pt")
    if "student" in names:
        torch.save(AttentionUnet(channels=(2, 4, 4)).state_dict(), tmp_path / "narrow.pt")
        keys["pretrained"] = str(tmp_path / "narrow.pt")
    run = tmp_path / "run"
    folders = {"dataset_dir": str(cases), "output_dir": str(run), "ckpt_dir": str(run / "models"), "cache_dir": str(tmp_path / "cache")}
    workflow = create_workflow(config_file=paths("train", *names), workflow_type="train", logging_file=False, **{**keys, **folders})
    workflow.run()
    workflow.finalize()
    (row,) = read_table(run / "training.csv")
    assert np.isfinite(float(row["train_loss"])) and float(row["train_seconds"]) > 0
    assert all(value.isfinite().all() for value in read_state_dict(run / "models" / "model.pt").values())
    assert (run / "attention.png").is_file() == ("attention_figures" in names)


def test_no_overlay_is_left_out() -> None:
    for name, file in ELSEWHERE.items():
        assert f'"{name}"' in (Path(__file__).parent / file).read_text(encoding="utf-8"), f"{file} trains {name}"
    assert set(SMALL) | set(ELSEWHERE) <= TRAINED and len(TRAINED) > 30


def test_folded_networks_of_monai_are_plain_copies() -> None:
    from monai.networks.nets import SegResNet

    from bundle.networks import fold_batch_norm

    torch.manual_seed(0)
    network = SegResNet(init_filters=8).eval()
    folded, x = fold_batch_norm(network), torch.randn(1, 1, 16, 16, 16)
    assert folded is not network and torch.equal(folded(x), network(x))
