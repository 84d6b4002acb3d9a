"""`--crf` and `--shape_prior` of `inference.json`: off by default, in the record when they are on, and done."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from small_inference import run_inference, save_weights
from small_scans import AFFINE, SHAPE, body, nifti

from bundle.quality.cases import read_cases_csv


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small network, whose labels are patchy."""
    return save_weights(tmp_path_factory.mktemp("weights") / "model.pt", seed=4)


def infer(repository: Path, data: Path, out: Path, weights: Path, *overlays: str, **override: object) -> tuple[np.ndarray, dict]:
    """The label map of the only scan of a folder, and the settings in the record."""
    names = ["inference.json", *(f"overlays/inference/{name}.json" for name in overlays)]
    run_inference([repository / "configs" / name for name in names], data, out, weights, **{"keep_pieces": {}, **override})
    settings = json.loads((out / "run.json").read_text(encoding="utf-8"))["settings"]
    return np.asarray(nibabel.load(out / "scan_seg.nii.gz").dataobj), settings


def prior(path: Path) -> str:
    """A spleen a metre to the right of the pancreas, of which as of the kidneys any place will do."""
    any_size = {"log_ml": {"mean": 5.0, "sd": 9.0}, "log_axes_mm": {"mean": [5.0] * 3, "sd": [9.0] * 3}}
    place = {"pancreas": [{"mean_mm": [1000.0, 0.0, 0.0], "covariance_mm2": np.eye(3).tolist()}]}
    spleen, pancreas = ({"cases": 20, "pieces": 1, **any_size, "place": where} for where in (place, {}))
    path.write_text(json.dumps({"cases": 20, "structures": {"spleen": spleen, "pancreas": pancreas}}), encoding="utf-8")
    return str(path)


def boundaries(labels: np.ndarray) -> int:
    """Pairs of neighbours along the first axis of unlike labels."""
    return int((labels[1:] != labels[:-1]).sum())


def test_each_is_done_and_stands_in_the_record(repository: Path, weights: Path, tmp_path: Path) -> None:
    data = nifti(tmp_path / "data" / "scan.nii.gz", body(SHAPE), AFFINE).parent
    alone, settings = infer(repository, data, tmp_path / "alone", weights)
    assert (settings["crf"], settings["shape_prior"]) == (0.0, None)
    smooth, settings = infer(repository, data, tmp_path / "crf", weights, "crf", **{"crf": 3.0})
    assert settings["crf"] == 3.0 and boundaries(smooth) < boundaries(alone)
    path = prior(tmp_path / "shapes.json")
    found, settings = infer(repository, data, tmp_path / "prior", weights, shape_prior=path)
    row = read_cases_csv(tmp_path / "prior")[0]
    assert len(settings["shape_prior"]) == 64 and "spleen: its place is unlike that of the 20 cases of the training set" in row["reasons"]
    # of its pieces the one nearest to that place stays, the others are counted as left out
    assert ndimage.label(alone == 2, np.ones((3, 3, 3)))[1] > 1 and ndimage.label(found == 2, np.ones((3, 3, 3)))[1] == 1
    assert np.array_equal(found[found > 0], alone[found > 0]) and (found == 3).sum() == (alone == 3).sum()
    (spleen,) = (row for row in read_cases_csv(tmp_path / "prior") if row["structure"] == "spleen")
    assert float(spleen["left_out_ml"]) == pytest.approx(0.08 * ((alone == 2).sum() - (found == 2).sum()))
