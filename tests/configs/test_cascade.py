"""`inference.json` with `cascade.json`: the box of the organs first, then the organs inside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from small_inference import run_inference, save_weights
from small_scans import nifti

from bundle.arguments.config import shipped
from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.quality.cases import read_cases_csv

LONG = (30, 28, 90)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Random weights of two small networks: of the fine grid, which finds every structure somewhere, and of the coarse one."""
    paths = []
    for seed in (4, 5):
        paths.append(save_weights(tmp_path_factory.mktemp("weights") / "model.pt", seed))
    return paths


@pytest.fixture
def infer(repository: Path, weights: list[Path]) -> Callable[..., Path]:
    """Run it over a folder; gives the folder of results."""

    def run(data: Path, out: Path, *overlays: str, **override: object) -> Path:
        names = ["inference.json", *(f"overlays/inference/{name}.json" for name in overlays)]
        coarse = {"coarse_ckpt_path": str(weights[1])} if overlays else {}
        keys = {**coarse, "keep_pieces": {}, "spacing": [4.0, 4.0, 4.0], **override}
        run_inference([repository / "configs" / name for name in names], data, out, weights[0], **keys)
        return out

    return run


def body(bright: tuple[slice, slice, slice] | None) -> np.ndarray:
    """A long body with one bright organ in it."""
    values = np.full(LONG, -1000, np.int16)
    values[2:28, 3:25] = 40
    if bright is not None:
        values[bright] = 200
    return values


def labels(out: Path, name: str = "scan") -> np.ndarray:
    return np.asarray(nibabel.load(out / f"{name}_seg.nii.gz").dataobj)


def settings(out: Path) -> dict:
    return json.loads((out / "run.json").read_text(encoding="utf-8"))["settings"]


LOOK = {"coarse_look#_target_": "looks.Above"}


def test_only_the_box_is_segmented(tmp_path: Path, infer: Callable[..., Path]) -> None:
    """The organ is at heights 40 to 47: with 40 mm, ten voxels of 4 mm, the box of z ends at 30 and 57."""
    nifti(tmp_path / "data" / "scan.nii.gz", body((slice(10, 16), slice(8, 14), slice(40, 48))), AFFINE)
    along = infer(tmp_path / "data", tmp_path / "z", "cascade", box="z", box_margin=40, **LOOK)
    found = np.flatnonzero(labels(along).any(axis=(0, 1)))
    assert (found.min(), found.max()) == (30, 57)
    box = infer(tmp_path / "data", tmp_path / "xyz", "cascade", box="xyz", box_margin=8, **LOOK)
    where = np.argwhere(labels(box))
    assert (where.min(0) >= [8, 6, 38]).all() and (where.max(0) <= [17, 15, 49]).all()
    # random weights find something everywhere, also at the sides of the box
    assert "reaches the border of the box (upper end), may be cut off" in read_cases_csv(box)[0]["reasons"]


def test_a_box_that_saves_little_gives_the_label_map_of_the_single_network(tmp_path: Path, infer: Callable[..., Path]) -> None:
    """A scan that is all abdomen: the organs are in most of it."""
    nifti(tmp_path / "data" / "scan.nii.gz", body((slice(10, 16), slice(8, 14), slice(12, 80))), AFFINE)
    alone = infer(tmp_path / "data", tmp_path / "alone")
    both = infer(tmp_path / "data", tmp_path / "both", "cascade", box="z", **LOOK)
    np.testing.assert_array_equal(labels(both), labels(alone))
    assert read_cases_csv(both)[0]["reasons"] == read_cases_csv(alone)[0]["reasons"]


def test_where_the_look_finds_nothing_the_whole_scan_is_segmented_and_said_so(tmp_path: Path, infer: Callable[..., Path]) -> None:
    nifti(tmp_path / "data" / "scan.nii.gz", body(None), AFFINE)
    both = infer(tmp_path / "data", tmp_path / "both", "cascade", **LOOK)
    np.testing.assert_array_equal(labels(both), labels(infer(tmp_path / "data", tmp_path / "alone")))
    row = read_cases_csv(both)[0]
    assert row["review"] == "yes" and "the coarse look found no structure, so the whole scan was segmented" in row["reasons"]


def test_its_own_look_runs_and_the_record_names_what_results_depend_on(
    tmp_path: Path, infer: Callable[..., Path], weights: list[Path]
) -> None:
    nifti(tmp_path / "data" / "scan.nii.gz", body((slice(10, 16), slice(8, 14), slice(40, 48))), AFFINE)
    out = tmp_path / "out"
    noted = settings(infer(tmp_path / "data", out, "cascade", coarse_spacing=[6.0, 6.0, 6.0]))
    assert (noted["box"], noted["box_margin"], noted["coarse_spacing"]) == ("z", 40, [6.0, 6.0, 6.0])
    assert noted["coarse_weights"] and noted["coarse_weights"] != noted["weights"]
    assert settings(infer(tmp_path / "data", out, "cascade", coarse_ckpt_path=str(weights[0])))["coarse_weights"] == noted["weights"]
    assert labels(out).shape == LONG
    # the look of an ensemble is the ensemble's own
    several = {"ckpt_path": [str(path) for path in weights], "coarse_ckpt_path": "@ckpt_path"}
    noted = settings(infer(tmp_path / "data", out, "cascade", **several))
    assert noted["coarse_weights"] == noted["weights"]


def test_what_coarse_json_trains_is_what_cascade_box_takes(
    repository: Path, write_cases: Callable[..., Path], infer: Callable[..., Path], tmp_path: Path
) -> None:
    """One epoch, whose network finds this or that: the weights fit, and the label map is whole."""
    small = {"patch_size": [16, 16, 16], "num_workers": 0, "device": "cpu", "amp": False, "preview_cases": 0}
    folders = {"dataset_dir": str(write_cases(tmp_path / "cases", range(1, 4))), "output_dir": str(tmp_path / "run")}
    folders |= {"ckpt_dir": str(tmp_path / "run"), "cache_dir": str(tmp_path / "cache")}
    files = [str(repository / "configs" / name) for name in ("train.json", "overlays/train/coarse.json")]
    training = create_workflow(
        config_file=files, workflow_type="train", logging_file=False, max_epochs=1, val_interval=1, **small, **folders
    )
    training.run()
    training.finalize()
    nifti(tmp_path / "data" / "scan.nii.gz", body((slice(10, 16), slice(8, 14), slice(40, 48))), AFFINE)
    out = infer(tmp_path / "data", tmp_path / "out", "cascade", "cascade_box", coarse_ckpt_path=str(tmp_path / "run" / "model.pt"))
    assert labels(out).shape == LONG and settings(out)["coarse_weights"] != settings(out)["weights"]


def test_a_box_by_a_network_of_its_own(tmp_path: Path, infer: Callable[..., Path], weights: list[Path]) -> None:
    """`cascade_box.json`: other channels than the fine network's, trained by `coarse.json` on the same grid."""
    path = tmp_path / "coarse.pt"
    torch.manual_seed(6)
    torch.save(AttentionUnet(channels=[4, 4, 4, 8, 8]).state_dict(), path)
    nifti(tmp_path / "data" / "scan.nii.gz", body((slice(10, 16), slice(8, 14), slice(40, 48))), AFFINE)
    own = {"coarse_ckpt_path": str(path), "coarse_network_def#channels": [4, 4, 4, 8, 8]}
    noted = settings(infer(tmp_path / "data", tmp_path / "out", "cascade", "cascade_box", **own))
    assert (noted["box"], noted["box_margin"], noted["coarse_spacing"]) == ("xyz", 30, [5.0, 5.0, 5.0])
    trained, used = (shipped(name) for name in ("coarse", "cascade_box"))
    assert used["coarse_spacing"] == trained["spacing"]
    assert used["coarse_network_def"]["channels"] == trained["network_def#channels"]
    # the look sees the CT alone, whatever channels the fine network takes
    one_image = {"channels": None, "in_channels": 1}
    assert used["coarse_network_def"]["in_channels"] == 1
    assert {**used["coarse_network_def"], **one_image} == {**shipped("train")["network_def"], **one_image}


def test_without_weights_of_the_coarse_network_it_ends_in_one_line(tmp_path: Path, infer: Callable[..., Path]) -> None:
    nifti(tmp_path / "data" / "scan.nii.gz", body(None), AFFINE)
    with pytest.raises((UserError, RuntimeError)) as caught:
        infer(tmp_path / "data", tmp_path / "out", "cascade", coarse_ckpt_path=str(tmp_path / "none.pt"))
    from bundle.arguments.mistakes import users_mistake

    assert "none.pt: there is no such file" in str(users_mistake(caught.value))
