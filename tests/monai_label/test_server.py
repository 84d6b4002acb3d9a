"""End to end with MONAI Label's own server: load, segment, learn, score, stop. The tests build on each other, in order."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from label_scans import in_axis_order
from label_server import Server

from bundle.serving.monai_label import MODEL

# 0.8.5 stops with an error where `pretrained` is false; naming weights that do not exist trains from scratch
FROM_SCRATCH = {"model_filename": "none.pt"}
MISMATCH = "Checkpoint keys don't match"


def dice(one: np.ndarray, other: np.ndarray) -> list[float]:
    """Dice of each structure that either label map has."""
    structures = sorted((set(np.unique(one)) | set(np.unique(other))) - {0})
    return [2 * np.sum((one == s) & (other == s)) / (np.sum(one == s) + np.sum(other == s)) for s in structures]


def same_grid(label: nibabel.Nifti1Image, scan: nibabel.Nifti1Image) -> bool:
    return label.shape == scan.shape and np.allclose(label.affine, scan.affine, atol=1e-3)


def segment(server: Server, studies: Path, name: str, to: Path, **options: object) -> tuple[nibabel.Nifti1Image, dict]:
    """Label map and parameters of one scan; its grid is that of the scan, its values those of the labels."""
    file = to / f"{name}.nii.gz"
    parameters = server.infer(MODEL, name, file, **options)
    label = nibabel.load(file)
    assert same_grid(label, nibabel.load(studies / f"{name}.nii.gz"))
    assert set(np.unique(np.asanyarray(label.dataobj))) <= {0, 1, 2, 3}
    return label, parameters


def voxels(label: nibabel.Nifti1Image) -> np.ndarray:
    return np.asanyarray(label.dataobj).astype(np.uint8)


@pytest.fixture(scope="session")
def first(server: Server, studies: Path, work: Path) -> nibabel.Nifti1Image:
    """The first scan's label map, by the shipped weights."""
    return segment(server, studies, "lps", work)[0]


def test_info_lists_the_model_with_version_and_labels(server: Server) -> None:
    info = server.json("GET", "/info/")
    model = info["models"][MODEL]
    assert model["version"] and model["type"] == "segmentation" and model["dimension"] == 3
    assert model["labels"] == {"pancreas": 1, "spleen": 2, "kidney": 3}
    assert model["config"]["model_filename"][0] == "model.pt"
    assert MODEL in info["trainers"] and MODEL in info["scoring"]


def test_segments_the_phantom(first: nibabel.Nifti1Image, phantom: Path) -> None:
    truth = in_axis_order(nibabel.load(phantom / "labelsTr" / "abdomen_000.nii.gz"), "LPS")
    scores = dice(voxels(first), voxels(truth))
    assert len(scores) == 3 and np.mean(scores) > 0.5, scores


def test_same_answer_twice(server: Server, studies: Path, first: nibabel.Nifti1Image, tmp_path: Path) -> None:
    again, _ = segment(server, studies, "lps", tmp_path)
    assert np.array_equal(voxels(again), voxels(first))


def test_axis_order_changes_nothing(server: Server, studies: Path, first: nibabel.Nifti1Image, tmp_path: Path) -> None:
    permuted, _ = segment(server, studies, "permuted", tmp_path)
    scores = dice(voxels(in_axis_order(permuted, "LPS")), voxels(first))
    assert len(scores) == 3 and min(scores) >= 0.95, scores


def test_oblique_scan_is_labelled_in_place(server: Server, studies: Path, phantom: Path, tmp_path: Path) -> None:
    oblique, _ = segment(server, studies, "oblique", tmp_path)
    scores = dice(voxels(oblique), voxels(nibabel.load(phantom / "labelsTr" / "abdomen_000.nii.gz")))
    assert len(scores) == 3 and np.mean(scores) > 0.4, scores


def bundle_run(model: Path, scan: Path, to: Path) -> np.ndarray:
    """Label map of one scan by `monai.bundle run inference` of the served copy."""
    command = [sys.executable, "-m", "monai.bundle", "run", "inference", "--config_file", str(model / "configs" / "inference.json")]
    command += ["--bundle_root", str(model), "--dataset_dir", str(scan), "--output_dir", str(to), "--device", "cpu"]
    done = subprocess.run(command, cwd=model, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return voxels(nibabel.load(to / scan.name.replace(".nii.gz", "_seg.nii.gz")))


def test_same_result_as_bundle_run(model: Path, studies: Path, first: nibabel.Nifti1Image, tmp_path: Path) -> None:
    ours = bundle_run(model, studies / "lps.nii.gz", tmp_path)
    assert np.mean(ours == voxels(first)) > 0.999 and min(dice(ours, voxels(first))) > 0.99


def test_weights_fit(server: Server, first: nibabel.Nifti1Image) -> None:
    assert MISMATCH not in server.log()


def test_trains_on_two_labels_from_the_current_weights(
    server: Server, model: Path, studies: Path, labels: Path, first: nibabel.Nifti1Image, tmp_path: Path
) -> None:
    for case in ("abdomen_001", "abdomen_002"):
        server.save_label(case, labels / f"{case}.nii.gz")
    weights = model / "models" / "model.pt"
    before, shipped = state(weights), weights.read_bytes()
    task = server.run_task("train", MODEL, **as_a_viewer_asks(server, device="cpu"))
    assert task["status"] == "DONE", server.log()[-4000:]
    assert server.log().count("epoch 1/1") == 1, "the training ran more than once"
    after = state(weights)
    assert before.keys() == after.keys()
    # fine-tuned, not made anew: one epoch moves the weights a little
    change = relative_change(before, after)
    assert 0 < change < 0.5, change
    others = [file for file in weights.parent.glob("*.pt") if file != weights]
    assert shipped in [file.read_bytes() for file in others], "the original weights are lost"
    assert all(len(file.name) > len("model.pt") for file in others)
    used_by_the_next_inference(server, model, studies, tmp_path)


def test_trains_on_four_labels_from_scratch_with_mlflow(server: Server, model: Path, studies: Path, labels: Path, tmp_path: Path) -> None:
    for case in ("abdomen_003", "abdomen_004"):
        server.save_label(case, labels / f"{case}.nii.gz")
    before, marker = state(model / "models" / "model.pt"), len(server.log())
    # no tracking_uri, as a viewer has it: the runs lie in the bundle's own output folder
    task = server.run_task("train", MODEL, **as_a_viewer_asks(server, device="cpu", tracking="mlflow", **FROM_SCRATCH))
    assert task["status"] == "DONE", server.log()[-4000:]
    assert "Total Records for Training: 3" in server.log()[marker:]
    change = relative_change(before, state(model / "models" / "model.pt"))
    assert change > 0.5, change
    assert "val_dice" in metrics_in(model / "runs" / "train" / "mlruns.db")
    used_by_the_next_inference(server, model, studies, tmp_path)


def metrics_in(database: Path) -> set[str]:
    """Names of the metrics that MLflow was given."""
    with sqlite3.connect(database) as connection:
        return {name for (name,) in connection.execute("select distinct key from metrics")}


def as_a_viewer_asks(server: Server, **changed: object) -> dict[str, object]:
    """The request for a training that 3D Slicer sends: every option that `/info/` lists, the first of each list."""
    options = server.json("GET", "/info/")["trainers"][MODEL]["config"]
    return {key: value[0] if isinstance(value, list) else value for key, value in options.items()} | {"max_epochs": 1} | changed


def state(file: Path) -> dict[str, torch.Tensor]:
    """The weights in a file, as the server reads it."""
    content = torch.load(file, map_location="cpu", weights_only=True)
    return content.get("model", content)


def relative_change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """How far all convolution weights moved, in units of their own length."""
    weights = [key for key, value in before.items() if value.ndim == 5]
    moved = sum(float((after[key] - before[key]).pow(2).sum()) for key in weights)
    return (moved / sum(float(before[key].pow(2).sum()) for key in weights)) ** 0.5


def used_by_the_next_inference(server: Server, model: Path, studies: Path, folder: Path) -> None:
    """The server reloads the new weights: its answer is the one that the bundle gives with them."""
    marker = len(server.log())
    label, _ = segment(server, studies, "lps", folder)
    log = server.log()[marker:]
    assert "Reload model from cache" in log and MISMATCH not in log
    assert np.mean(bundle_run(model, studies / "lps.nii.gz", folder / "bundle") == voxels(label)) > 0.999


def test_epistemic_scores_lead_to_the_next_scan(server: Server) -> None:
    task = server.run_task("scoring", MODEL, simulation_size=2, max_workers=1)
    assert task["status"] == "DONE", server.log()[-4000:]
    images = server.json("GET", "/datastore/?output=all")["objects"]
    scores = {name: entry["image"]["info"]["epistemic_entropy"] for name, entry in images.items() if "epistemic_entropy" in str(entry)}
    # mean entropy over voxels, in nats: not more than that of four equally likely classes
    assert len(scores) == 2 and all(0 < score < np.log(4) for score in scores.values()), scores
    assert len(set(scores.values())) == 2, "the same score for different scans"
    assert server.json("POST", "/activelearning/first", {})["id"] not in {f"abdomen_00{i}" for i in (1, 2, 3, 4)}


def test_nothing_left_the_machine(server: Server) -> None:
    assert server.traffic() == ""


def test_stops_by_its_process_id(server: Server) -> None:
    server.stop()
    assert server.process.returncode is not None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
