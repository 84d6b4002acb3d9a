"""Classifiers by overlays: one epoch in 2-D and 3-D, each aggregation, tables, the best weights, and a folder to a CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import create_workflow

import bundle
from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import users_mistake
from bundle.handlers.training.epoch_table import read_table
from bundle.inferers.classifier import Classifier
from bundle.networks import AttentionSononet, AttentionUnet
from bundle.networks.weights import write_checkpoint, write_state_dict
from bundle.networks.weights.classifier import LearntWith, read_classifier
from bundle.tables import read_csv

CLASSES = ("dark", "bright")
TINY = {"patch_size": [16, 16, 16], "spacing": [2.0, 2.0, 2.0], "network_def#channels": [2, 4, 4, 4], "amp": False, "num_workers": 0}


def write_set(folder: Path, count: int = 2, shape: tuple[int, int, int] = (20, 20, 20)) -> Path:
    """A set whose classes differ in the HU of a cube, `count` cases of each in each section; one more dark one for training."""
    (folder / "images").mkdir(parents=True)
    content: dict[str, Any] = {"classes": list(CLASSES)}
    for number, section in enumerate(("training", "validation", "test")):
        content[section] = []
        for label, name in enumerate(CLASSES):
            for case in range(count + (section == "training" and label == 0)):
                image = np.random.default_rng([number, label, case]).normal(0, 10, shape)
                image[5:15, 5:15, 5:15] += 100 * label
                path = f"images/{section}_{name}_{case}.nii.gz"
                nib.save(nib.Nifti1Image(image.astype(np.float32), np.diag([-2.0, -2, 2, 1])), folder / path)
                content[section].append({"image": path, "class": name})
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("classes") / "data")


def train(cases: Path, out: Path, **keys: Any) -> Path:
    """Weights of a training of one epoch."""
    folders = {"dataset_dir": str(cases), "output_dir": str(out), "cache_dir": str(cases.parent / "cache")}
    files = [str(shipped_path(name)) for name in ("train", "classify")]
    workflow = create_workflow(
        config_file=files, workflow_type="train", logging_file=False, **{**folders, **TINY, "max_epochs": 1, "device": "cpu", **keys}
    )
    workflow.run()
    workflow.finalize()
    return out / "models" / "model.pt"


@pytest.mark.parametrize("dims", [2, 3])
def test_one_epoch_writes_tables_and_the_best_weights(dims: int, cases: Path, tmp_path: Path) -> None:
    weights = train(cases, tmp_path / "run", spatial_dims=dims, with_test=True, max_epochs=2)
    rows = read_table(tmp_path / "run" / "training.csv")
    assert list(rows[0])[:7] == ["epoch", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "val_f1_dark", "val_f1_bright"]
    confusion = list(read_csv(tmp_path / "run" / "confusion_val.csv"))
    for row in rows:
        counts = {one["class"]: [int(one[name]) for name in CLASSES] for one in confusion if one["epoch"] == row["epoch"]}
        right = counts["dark"][0] + counts["bright"][1]
        assert sum(map(sum, counts.values())) == 4 and float(row["val_accuracy"]) == pytest.approx(right / 4)
        # F1 = 2 tp / (2 tp + fp + fn)
        wrong = 4 - right
        f1 = [2 * counts[name][label] / max(2 * counts[name][label] + wrong, 1) for label, name in enumerate(CLASSES)]
        assert float(row["val_macro_f1"]) == pytest.approx(sum(f1) / 2, abs=1e-5)
    assert len(list(read_csv(tmp_path / "run" / "confusion_test.csv"))) == 4 and "test_macro_f1" in rows[0]
    network, learnt = read_classifier(weights)
    assert learnt["classes"] == list(CLASSES) and learnt["spatial_dims"] == dims and network.spatial_dims == dims


def test_a_training_resumes_and_keeps_the_best(cases: Path, tmp_path: Path) -> None:
    train(cases, tmp_path, spatial_dims=2)
    best = torch.load(tmp_path / "last.pt", weights_only=True)["best"]
    train(cases, tmp_path, spatial_dims=2, max_epochs=2, resume=True)
    assert [row["epoch"] for row in read_table(tmp_path / "training.csv")] == ["1", "2"]
    after = torch.load(tmp_path / "last.pt", weights_only=True)
    assert after["epoch"] == 2 and after["best"]["metric"] >= best["metric"]
    with pytest.raises(Exception) as caught:
        train(cases, tmp_path, spatial_dims=2, max_epochs=3, resume=True, classes=["bright", "dark"])
    assert "classes was ['dark', 'bright'], is ['bright', 'dark'] now" in str(users_mistake(caught.value))


@pytest.mark.parametrize("aggregation", ["concat", "deep_supervision", "fine_tuned"])
def test_other_aggregations(aggregation: str, cases: Path, tmp_path: Path) -> None:
    assert read_classifier(train(cases, tmp_path, spatial_dims=2, aggregation=aggregation))[0].aggregation == aggregation


def test_an_aggregation_is_fine_tuned_from_another(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = train(cases, tmp_path / "mean", spatial_dims=2)
    capsys.readouterr()
    train(cases, tmp_path / "tuned", spatial_dims=2, aggregation="fine_tuned", start_from=str(first), learning_rate=1e-12)
    assert "tensors taken over" in capsys.readouterr().out
    before, after = (read_classifier(path)[0].levels[0][0].conv.weight for path in (first, tmp_path / "tuned" / "models" / "model.pt"))
    assert torch.allclose(before, after, atol=1e-6)


def test_mistakes_are_one_line(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:
        train(cases, tmp_path, classes=["dark", "grey"])
    assert "the class bright is none of dark, grey" in str(users_mistake(caught.value))
    with pytest.raises(Exception) as caught:
        train(cases, tmp_path, classes=["dark"])
    assert "give two names or more" in str(users_mistake(caught.value))


def classify(scans: Path, out: Path, weights: Path, **keys: Any) -> list[dict[str, str]]:
    """Rows of the table of an inference."""
    files = [str(shipped_path(name)) for name in ("inference", "inference_classify")]
    folders = {"dataset_dir": str(scans), "output_dir": str(out), "ckpt_path": str(weights)}
    workflow = create_workflow(config_file=files, workflow_type="inference", logging_file=False, **{**folders, "device": "cpu", **keys})
    workflow.run()
    return list(read_csv(out / "classes.csv"))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_folder_to_a_table_with_maps(dims: int, cases: Path, tmp_path: Path) -> None:
    weights = train(cases, tmp_path / "run", spatial_dims=dims)
    scans = tmp_path / "scans"
    write_set(tmp_path / "more", count=1, shape=(20, 24, 18))
    (tmp_path / "more" / "images").rename(scans)
    for path in sorted(scans.glob("*"))[2:]:
        path.unlink()
    (scans / "broken.nii.gz").write_bytes(b"no scan")
    rows = classify(scans, tmp_path / "out", weights, attention=True, sure=1.0)
    assert [row["status"] for row in rows] == ["failed", "ok", "ok"] and rows[0]["error"]
    for row in rows[1:]:
        chances = [float(row[f"p_{name}"]) for name in CLASSES]
        assert sum(chances) == pytest.approx(1, abs=2e-4)
        assert row["class"] == CLASSES[int(np.argmax(chances))] and float(row["probability"]) == max(chances)
        assert row["review"] == "yes" and row["reasons"] == f"probability {max(chances):.2f}"
        assert chances == pytest.approx(list(Classifier(weights)(row["source"]).values()), abs=1e-4)
        for level in (3, 4):
            found = nib.load(tmp_path / "out" / f"{row['case']}_attention_level{level}.nii.gz")
            source = nib.load(row["source"])
            assert found.shape == source.shape and np.array_equal(found.affine, source.affine)
            # the largest coefficient is 1 on the network's grid, and interpolation to this one lowers it a little
            assert 0.5 < found.get_fdata().max() < 1.001
        assert (tmp_path / "out" / f"{row['case']}_attention.png").is_file()
    (scans / "broken.nii.gz").unlink()
    again = classify(scans, tmp_path / "out", weights, sure=0.0)
    assert [(row["case"], row["review"]) for row in again[1:]] == [(row["case"], "no") for row in rows[1:]]
    assert again[0] == rows[0], "rows of earlier runs stay"


def test_parts_do_their_share_and_write_one_table(cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = train(cases, tmp_path / "run", spatial_dims=2)
    half = classify(cases / "images", tmp_path / "out", weights, part="1/2")
    every = {path.name.removesuffix(".nii.gz") for path in (cases / "images").glob("*")}
    whole = classify(cases / "images", tmp_path / "out", weights, part="2/2")
    assert 0 < len(half) < len(every) and {row["case"] for row in whole} == every
    assert [row for row in whole if row["case"] in {row["case"] for row in half}] == half, "and each case is done once"
    assert f"part 1/2 (--part): {len(half)} of {len(every)} scans" in capsys.readouterr().out


def test_other_classes_need_another_folder(cases: Path, tmp_path: Path) -> None:
    weights = train(cases, tmp_path / "run", spatial_dims=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "classes.csv").write_text("case,p_pelvis,p_thorax\na,0.5,0.5\n")
    with pytest.raises(Exception) as caught:
        classify(cases / "images", tmp_path / "out", weights)
    assert "it is of other classes (pelvis, thorax)" in str(users_mistake(caught.value))
    with pytest.raises(Exception) as caught:
        classify(cases / "images", tmp_path / "other", Path(bundle.root()) / "models" / "model.pt")
    assert "does not say which classes it knows" in str(users_mistake(caught.value))


def segment(scan: Path, out: Path, weights: Path, **keys: Any) -> dict[str, Any]:
    """The record of the one case of a segmentation."""
    small = {"network_def#channels": [2, 4, 4, 4], "previews": False, "device": "cpu"}
    folders = {"dataset_dir": str(scan), "output_dir": str(out), "ckpt_path": str(weights)}
    workflow = create_workflow(
        config_file=str(shipped_path("inference")), workflow_type="inference", logging_file=False, **{**folders, **small, **keys}
    )
    workflow.run()
    return json.loads((out / "run.json").read_text())["cases"][0]


def test_the_review_flag_of_a_segmentation(cases: Path, tmp_path: Path) -> None:
    classifier = AttentionSononet(2, 1, 2, channels=[2, 2, 2, 2], aggregation="concat")
    torch.nn.init.zeros_(classifier.classifier.weight)
    classifier.classifier.bias.data = torch.tensor([9.0, 0.0])
    seen = {"classes": ["thorax", "abdomen"], "spatial_dims": 2, "spacing": [2, 2, 2], "hu_range": [-200, 300], "patch_size": [16, 16, 1]}
    path = tmp_path / "region.pt"
    write_checkpoint({"model": classifier.state_dict(), "learnt_with": LearntWith(classifier, **seen).state_dict()}, path)
    write_state_dict(AttentionUnet(3, 1, 4, channels=[2, 4, 4, 4]).state_dict(), tmp_path / "unet.pt")
    scan = next((cases / "images").glob("*"))
    words = "the scan looks like thorax, not abdomen (probability 1.00)"
    plain = segment(scan, tmp_path / "out", tmp_path / "unet.pt")
    assert plain["settings"]["scan_classifier"] is None and words not in (tmp_path / "out" / "cases.csv").read_text()
    with_it = segment(scan, tmp_path / "out", tmp_path / "unet.pt", scan_classifier=str(path))
    assert len(with_it["settings"]["scan_classifier"]["weights"]) == 64
    assert all(words in row["reasons"] for row in read_csv(tmp_path / "out" / "cases.csv"))
    again = segment(scan, tmp_path / "out", tmp_path / "unet.pt", scan_classifier=str(path))
    assert again["ended"] == with_it["ended"], "nothing changed: it is not done again"
    segment(scan, tmp_path / "out", tmp_path / "unet.pt", scan_classifier=str(path), expected_classes=["thorax"])
    assert words not in (tmp_path / "out" / "cases.csv").read_text()
