"""Parts of MONAI in overlays of inference.json, as people write them: handlers, metrics, transforms, loaders, another engine, ensembles."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from small_scans import AFFINE, body, dicom_series, nifti, reoriented

from bundle.engines import segment
from bundle.networks import AttentionUnet
from bundle.networks.ensemble import Ensemble
from bundle.networks.weights import file_digest
from bundle.networks.zoomed import Zoomed

CHANNELS = [4, 4, 8, 8, 8]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files of random weights of a small network that find other structures."""
    folder, paths = tmp_path_factory.mktemp("weights"), []
    for seed in (4, 9):
        torch.manual_seed(seed)
        paths.append(str(folder / f"model_{seed}.pt"))
        torch.save(AttentionUnet(channels=CHANNELS).state_dict(), paths[-1])
    return paths


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans, one of them stored in another orientation."""
    folder = tmp_path_factory.mktemp("data")
    nifti(folder / "a.nii.gz")
    nifti(folder / "b.nii.gz", *reoriented(body(), AFFINE, "PIR"))
    return folder


@pytest.fixture
def infer(repository: Path, weights: list[str], data: Path, tmp_path: Path) -> Callable[..., ConfigWorkflow]:
    """Run inference.json with an overlay; gives the workflow, whose results are in `tmp_path / out`."""

    def run(overlay: dict[str, Any], out: str = "out", dataset_dir: Path = data, **keys: object) -> ConfigWorkflow:
        path = tmp_path / f"overlay_{out}.json"
        path.write_text(json.dumps(overlay))
        folders = {"dataset_dir": str(dataset_dir), "output_dir": str(tmp_path / out), "ckpt_path": weights[0]}
        small = {"network_def#channels": CHANNELS, "previews": False, "precision": "fp32", "keep_pieces": {}}
        workflow = ConfigWorkflow(
            [str(repository / "configs" / "inference.json"), str(path)],
            logging_file=False,
            workflow_type="inference",
            **{**folders, **small, **keys},
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        return workflow

    return run


def labels_in(folder: Path, ending: str = "_seg.nii.gz") -> dict[str, np.ndarray]:
    found = sorted(folder.rglob(f"*{ending}"))
    return {path.name.removesuffix(ending): np.asarray(nibabel.load(path).dataobj) for path in found}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name].squeeze(), other[name].squeeze()) for name in one)


@pytest.fixture(scope="module")
def expected(weights: list[str], data: Path) -> list[dict[str, np.ndarray]]:
    """What each file of weights makes of the scans."""
    options = {"network_def#channels": CHANNELS, "precision": "fp32", "keep_pieces": {}}
    found = [{name: segment(data / f"{name}.nii.gz", ckpt_path=path, **options) for name in "ab"} for path in weights]
    assert not equal(*found) and all(len(np.unique(labels)) > 1 for labels in found[0].values())
    return found


def test_stats_and_a_checkpoint_that_a_handler_loads(infer, weights, expected, tmp_path) -> None:
    loader = {"_target_": "CheckpointLoader", "load_path": weights[1], "load_dict": {"model": "@network"}}
    infer({"+handlers": [{"_target_": "StatsHandler"}, loader]})
    assert equal(labels_in(tmp_path / "out"), expected[1]), "the handler's weights, not those of ckpt_path"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert {case["settings"]["weights"] for case in record["cases"]} == {file_digest(weights[1])}
    workflow = infer({}, ckpt_path=weights[1])
    assert workflow.evaluator.cases == [], "the same weights by ckpt_path: the results are those of this run"


def test_monai_writes_what_the_bundle_writes(infer, expected, tmp_path) -> None:
    save = {"_target_": "SaveImaged", "keys": "pred", "output_dir": str(tmp_path / "saved")}
    other = {**save, "output_dir": str(tmp_path / "handler"), "separate_folder": False}
    handler = {"_target_": "PostProcessing", "transform": other}
    infer({"+postprocessing#transforms": [save], "+handlers": [handler]})
    assert equal(labels_in(tmp_path / "out"), expected[0])
    assert equal(labels_in(tmp_path / "saved", "_trans.nii.gz"), expected[0])
    assert equal(labels_in(tmp_path / "handler", "_trans.nii.gz"), expected[0])
    for name in "ab":
        ours = nibabel.load(tmp_path / "out" / f"{name}_seg.nii.gz")
        for theirs in (tmp_path / "saved" / name / f"{name}_trans.nii.gz", tmp_path / "handler" / f"{name}_trans.nii.gz"):
            assert np.allclose(nibabel.load(theirs).affine, ours.affine, atol=1e-4)


def test_metrics_and_their_saver(infer, expected, data, tmp_path) -> None:
    dice = []
    for name in "ab":  # references that are one voxel off
        values = np.roll(expected[0][name], 1, 0)
        nifti(tmp_path / "labels" / f"{name}.nii.gz", values.astype(np.uint8), nibabel.load(data / f"{name}.nii.gz").affine, dtype=np.uint8)
        pairs = [(expected[0][name] == value, values == value) for value in (1, 2, 3) if (values == value).any()]
        dice.append(np.mean([2 * (one & other).sum() / (one.sum() + other.sum()) for one, other in pairs]))
    assert 0 < np.mean(dice) < 1
    entries = [{"image": str(data / f"{n}.nii.gz"), "label": str(tmp_path / "labels" / f"{n}.nii.gz")} for n in "ab"]
    pair = "$monai.handlers.from_engine(['pred', 'label'])"
    reader = {"_target_": "LoadImaged", "keys": "label", "ensure_channel_first": True}
    one_hot = {"_target_": "AsDiscreted", "keys": ["pred", "label"], "to_onehot": 4}
    saver = {
        "_target_": "MetricsSaver",
        "save_dir": str(tmp_path / "metrics"),
        "metric_details": ["val_mean_dice"],
        "batch_transform": "$lambda x: [item['image'].meta for item in x]",
        "summary_ops": ["mean"],
    }
    workflow = infer(
        {
            "+imports": ["$import monai.handlers"],
            "scans": entries,
            "+preprocessing#transforms": [reader],
            "+postprocessing#transforms": [one_hot],
            "+handlers": [saver],
            "evaluator#key_val_metric": {
                "val_mean_dice": {"_target_": "MeanDice", "include_background": False, "num_classes": 4, "output_transform": pair}
            },
        }
    )
    assert workflow.evaluator.state.metrics["val_mean_dice"] == pytest.approx(np.mean(dice), abs=1e-6)
    with open(tmp_path / "metrics" / "val_mean_dice_raw.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["filename"]).name for row in rows] == ["a.nii.gz", "b.nii.gz"]
    assert equal(labels_in(tmp_path / "out"), expected[0]), "one-hot labels are written as labels"


WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 2, "overlap": 0.25, "mode": "gaussian"}


def zoo(tmp_path: Path) -> dict[str, Any]:
    """Postprocessing as bundles of the model zoo have it."""
    inverted = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False}
    save = {"_target_": "SaveImaged", "keys": "pred", "output_dir": str(tmp_path / "zoo"), "output_dtype": "$numpy.uint8"}
    return {
        "+imports": ["$import numpy"],
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [inverted, {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}, save],
        },
    }


def alike(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """The same labels but at voxels where two classes tie to rounding."""
    assert one.keys() == other.keys()
    assert all(np.mean(one[name].squeeze() != other[name].squeeze()) < 0.002 for name in one)


def test_the_zoo_s_postprocessing(infer, expected, tmp_path) -> None:
    infer(zoo(tmp_path))
    alike(labels_in(tmp_path / "zoo", "_trans.nii.gz"), expected[0])
    assert equal(labels_in(tmp_path / "out"), labels_in(tmp_path / "zoo", "_trans.nii.gz"))


def test_a_postprocessing_that_keeps_the_labels_alone(infer, expected, tmp_path) -> None:
    overlay = zoo(tmp_path)
    overlay["postprocessing"]["transforms"].append({"_target_": "SelectItemsd", "keys": "pred"})
    infer(overlay)
    assert equal(labels_in(tmp_path / "out"), labels_in(tmp_path / "zoo", "_trans.nii.gz"))


def test_the_zoo_s_preprocessing_and_datalist(infer, data, tmp_path) -> None:
    """`LoadImaged` that puts the channel first: the case's own scan stays (X, Y, Z), so that tables and pictures of it are made."""
    steps = [
        {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [4.0, 4.0, 4.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0.0, "b_max": 1.0, "clip": True},
    ]
    found = "$[{'image': name} for name in @datalist]"
    overlay = {
        **zoo(tmp_path),
        "+imports": ["$import numpy", "$import glob"],
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii.gz'))",
        "dataset": {"_target_": "Dataset", "data": found, "transform": "@preprocessing"},
        "preprocessing": {"_target_": "Compose", "transforms": steps},
    }
    infer(overlay, previews=True)
    labels = labels_in(tmp_path / "out")
    assert equal(labels, labels_in(tmp_path / "zoo", "_trans.nii.gz")) and labels.keys() == {"a", "b"}
    with open(tmp_path / "out" / "cases.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if float(row["volume_ml"]) > 0]
    scans = {name: np.asarray(nibabel.load(data / f"{name}.nii.gz").dataobj) for name in "ab"}
    names = {"pancreas": 1, "spleen": 2, "kidney": 3}
    assert rows and all(row["status"] == "ok" for row in rows)
    for row in rows:
        inside = scans[row["case"]][labels[row["case"]] == names[row["structure"]]]
        assert float(row["mean_hu"]) == pytest.approx(inside.mean(), abs=0.1)
    assert (tmp_path / "out" / "a_preview.png").is_file()


def test_monai_s_own_engine_over_a_data_loader(infer, expected, weights, tmp_path) -> None:
    evaluator = {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    }
    loader = {"_target_": "CheckpointLoader", "load_path": weights[1], "load_dict": {"model": "@network"}}
    overlay = {
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "handlers": [loader, {"_target_": "StatsHandler"}],
        "evaluator": evaluator,
    }
    infer({**zoo(tmp_path), **overlay, "inferer": WINDOWS})
    infer({"inferer": WINDOWS}, ckpt_path=weights[1])
    alike(labels_in(tmp_path / "zoo", "_trans.nii.gz"), labels_in(tmp_path / "out"))
    assert not equal(labels_in(tmp_path / "out"), expected[1]), "windows see less than the whole volume"
    # the bundle's own postprocessing, too, takes what was collated
    save = {"_target_": "SaveImaged", "keys": "pred", "output_dir": str(tmp_path / "own")}
    infer({**overlay, "+postprocessing#transforms": [save]}, out="again")
    assert equal(labels_in(tmp_path / "own", "_trans.nii.gz"), expected[1])


def test_a_data_loader_and_a_postprocessing_handler(infer, expected, tmp_path) -> None:
    overlay = {
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "evaluator#val_data_loader": "@dataloader",
        "evaluator#postprocessing": None,
        "+handlers": [{"_target_": "PostProcessing", "transform": "@postprocessing"}],
    }
    infer(overlay)
    assert equal(labels_in(tmp_path / "out"), expected[0])


def test_dicom_collates_as_well(infer, tmp_path) -> None:
    dicom_series(tmp_path / "dicom" / "one")
    overlay = zoo(tmp_path)
    overlay |= {
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
    }
    infer(overlay, dataset_dir=tmp_path / "dicom")
    assert len(labels_in(tmp_path / "zoo", "_trans.nii.gz")) == 1


def _network_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())["settings"]["network"]


def test_several_sizes_by_their_overlay(infer, repository, tmp_path) -> None:
    overlay = json.loads((repository / "configs" / "overlays" / "inference" / "zooms.json").read_text())
    workflow = infer(overlay)
    network, volume = (
        workflow.parser.get_parsed_content("network"),
        torch.randn(1, 1, 32, 32, 16, generator=torch.Generator().manual_seed(0)),
    )
    with torch.no_grad():
        plain = network.network(volume)
        assert isinstance(network, Zoomed) and not torch.allclose(network(volume), plain, atol=1e-3)
    assert _network_of(tmp_path / "out")["zooms"] == [0.9, 1.1] and _network_of(tmp_path / "out")["network"]["class"] == "AttentionUnet"
    assert len(labels_in(tmp_path / "out")) == 2 and infer(overlay).evaluator.cases == []
    again = infer({**overlay, "network#zooms": [0.8]})
    assert len(again.evaluator.cases) == 2, "with other sizes all is done again"


def test_an_ensemble_is_the_mean_of_the_logits(infer, weights, data, tmp_path) -> None:
    workflow = infer({}, ckpt_path=list(weights), flips=True)
    networks = []
    for path in weights:
        networks.append(AttentionUnet(channels=CHANNELS))
        networks[-1].load_state_dict(torch.load(path))
    one = labels_in(tmp_path / "out")
    assert [part["class"] for part in _network_of(tmp_path / "out")["networks"]] == ["AttentionUnet", "AttentionUnet"]
    no_result = {"bytes_per_voxel", "checkpointing", "multiple", "own_finest_level", "plain_blocks", "training"}
    assert not no_result & set(_network_of(tmp_path / "out"))
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["settings"]["ckpt_path"] == weights
    assert {case["settings"]["weights"] for case in record["cases"]} == {file_digest(list(reversed(weights)))}
    assert file_digest(weights) not in map(file_digest, weights) and file_digest(weights[:1]) == file_digest(weights[0])
    volume = torch.randn(1, 1, 32, 32, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean = torch.stack([network.eval()(volume) for network in networks]).mean(0)
        assert torch.allclose(workflow.network_def.to("cpu")(volume), networks[0](volume)), "network_def has the first file's weights"
        found = workflow.parser.get_parsed_content("network")
        assert isinstance(found, Ensemble) and torch.allclose(found(volume), mean, atol=1e-5)
    again = infer({}, ckpt_path=list(reversed(weights)), flips=True)
    assert again.evaluator.cases == [], "the order of the files is no matter"
    other = infer({}, ckpt_path=weights[:1], flips=True)
    assert len(other.evaluator.cases) == 2 and not equal(labels_in(tmp_path / "out"), one)


def test_a_caller_may_load_weights_into_the_network(repository: Path, weights: list[str]) -> None:
    """MONAI Deploy's operator loads `models/model.pt` strictly into `network` of a bundle that is a folder."""
    keys = {"ckpt_path": weights[0], "network_def#channels": CHANNELS, "precision": "fp32"}
    workflow = ConfigWorkflow(str(repository / "configs" / "inference.json"), logging_file=False, workflow_type="inference", **keys)
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network")
    network.load_state_dict(torch.load(weights[1], weights_only=True), strict=True)
    inferer, volume = workflow.inferer, torch.randn(1, 1, 64, 64, 64)
    expected = AttentionUnet(channels=CHANNELS)
    expected.load_state_dict(torch.load(weights[1], weights_only=True))
    with torch.no_grad():
        assert torch.allclose(inferer(volume, network), expected.eval()(volume), atol=1e-4)
