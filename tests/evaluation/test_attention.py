"""Which organs a gate looks at: values worked out by hand, and the tables from scans."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from bundle.errors import UserError
from bundle.evaluation.attention import attention, markdown, measure, summarise, tissue_of
from bundle.networks import AttentionUnet
from bundle.networks.sizes import sides

CHANNELS = (2, 4, 8)


def test_four_voxels_by_hand() -> None:
    """Inside 0.9 and 0.2, outside 0.8 and 0.1: of the four pairs 0.9 wins two, 0.2 wins one."""
    alpha, tissue = np.array([0.9, 0.8, 0.2, 0.1, 1.0]), np.array([True] * 4 + [False])
    found = measure(alpha, tissue, {"pancreas": np.array([True, False, True, False, True])})["pancreas"]
    assert found == pytest.approx({"inside": 0.55, "outside": 0.45, "enrichment": 0.55 / 0.45, "auc": 0.75})


@pytest.mark.parametrize(
    ("alpha", "auc", "enrichment"),
    [
        ([0.5, 0.5, 0.5, 0.5], 0.5, 1.0),  # ties count one half
        ([0.1, 0.2, 0.3, 0.4], 0.0, 0.15 / 0.35),  # looks elsewhere
        ([0.7, 0.9, 0.0, 0.0], 1.0, None),  # nothing outside to divide by
    ],
)
def test_a_gate_that_does_not_care_and_one_that_looks_elsewhere(alpha: list[float], auc: float, enrichment: float | None) -> None:
    found = measure(np.array(alpha), np.ones(4, bool), {"spleen": np.array([True, True, False, False])})["spleen"]
    assert found["auc"] == auc and found["enrichment"] == (None if enrichment is None else pytest.approx(enrichment))


def test_organs_that_are_not_there_are_left_out() -> None:
    masks = {"none": np.zeros(3, bool), "all": np.ones(3, bool), "outside": np.array([False, False, True])}
    assert measure(np.arange(3.0), np.array([True, True, False]), masks) == {}


def test_means_over_the_scans_that_have_the_organ() -> None:
    def row(case: str, level: int, gate: int, structure: str, **values: float | None) -> dict:
        return {
            "case": case,
            "level": level,
            "gate": gate,
            "structure": structure,
            "inside": 0.5,
            "outside": 0.5,
            "enrichment": 1.0,
            **values,
        }

    rows = [
        row("a", 2, 1, "spleen", auc=0.5),
        row("a", 3, 1, "spleen", auc=0.5, enrichment=3.0),
        row("b", 3, 1, "spleen", auc=0.75, enrichment=None),
        row("b", 3, 2, "kidney", auc=1.0),
    ]
    means = summarise(rows)
    assert [(one["level"], one["gate"], one["structure"], one["cases"]) for one in means] == [
        (3, 1, "spleen", 2),
        (3, 2, "kidney", 1),
        (2, 1, "spleen", 1),
    ]
    assert (means[0]["auc"], means[0]["enrichment"]) == (0.625, 3.0)
    lines = markdown(means).splitlines()
    assert lines[0] == "| gate | spleen | kidney |" and lines[2] == "| level 3, gate 1 | 3.00 (0.62) |  |"
    assert lines[3] == "| level 3, gate 2 |  | 1.00 (1.00) |"


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, str]:
    """Two scans of tissue in air, their references with a pancreas, and a network of two gates that opens on dense voxels."""
    random = np.random.default_rng(0)
    for number in range(2):
        scan, label = np.full((32, 28, 24), -1000, np.int16), np.zeros((32, 28, 24), np.uint8)
        scan[4:28, 4:24, 2:22] = random.normal(0, 20, (24, 20, 20))
        label[10:18, 10:18, 8:16] = 1
        scan[label == 1] += 200
        for folder, array in (("scans", scan), ("labels", label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 2, 2, 1])), tmp_path / folder / f"case_{number}.nii.gz")
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 4, channels=CHANNELS, init="authors")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "small.json").write_text(json.dumps({"network_def#channels": CHANNELS, "device": "cpu"}))
    return {"config_file": f"configs/inference.json,{tmp_path / 'small.json'}", "ckpt_path": str(tmp_path / "weights.pt")}


def test_tables_of_two_scans(arguments: dict[str, str], tmp_path: Path) -> None:
    means = attention(str(tmp_path / "scans"), tmp_path / "out", references=str(tmp_path / "labels"), **arguments)
    assert [(one["level"], one["gate"], one["structure"], one["cases"]) for one in means] == [(2, 1, "pancreas", 2), (2, 2, "pancreas", 2)]
    with (tmp_path / "out" / "attention.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[1]["auc"]) == pytest.approx(means[1]["auc"], abs=1e-5)
    with (tmp_path / "out" / "attention_cases.csv").open() as file:
        cases = list(csv.DictReader(file))
    assert [(row["case"], row["gate"]) for row in cases] == [(f"case_{n}", g) for n in range(2) for g in "12"]
    # against the network called by hand on the same voxels: 2 mm already, cropped to the body and its margin, which is all of the scan
    scan = np.asarray(nibabel.load(tmp_path / "scans" / "case_0.nii.gz").dataobj).astype(np.float32)
    body = scan > -200
    clipped = np.clip(scan, -200, 300)
    image = torch.from_numpy((clipped - clipped[body].mean()) / clipped[body].std())[None, None]
    network = AttentionUnet(3, 1, 4, channels=CHANNELS).eval()
    network.load_state_dict(torch.load(arguments["ckpt_path"], weights_only=True))
    # axes below 64 voxels are seen with their ends repeated
    added = sides(network, scan.shape, 16)
    assert all(map(any, added))
    repeated = torch.nn.functional.pad(image, [side for pair in reversed(added) for side in pair], mode="replicate")
    with torch.no_grad():
        alpha = network.attention(repeated)[1][2].resampled[0, 0].numpy()
    alpha = alpha[tuple(slice(before, before + n) for (before, _), n in zip(added, scan.shape, strict=True))]
    pancreas = np.asarray(nibabel.load(tmp_path / "labels" / "case_0.nii.gz").dataobj) == 1
    assert float(cases[0]["inside"]) == pytest.approx(alpha[pancreas].mean(), rel=1e-3)
    assert float(cases[0]["outside"]) == pytest.approx(alpha[body & ~pancreas].mean(), rel=1e-3)


def test_without_references_the_networks_own_labels_count(arguments: dict[str, str], tmp_path: Path) -> None:
    """An untrained network finds something somewhere; a single scan is named alone."""
    means = attention(str(tmp_path / "scans" / "case_1.nii.gz"), tmp_path / "out", **arguments)
    assert {one["structure"] for one in means} <= {"pancreas", "spleen", "kidney"} and all(one["cases"] == 1 for one in means)


def test_mistakes_are_named(arguments: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "labels" / "case_1.nii.gz").unlink()
    (tmp_path / "labels" / "other.nii.gz").write_bytes((tmp_path / "labels" / "case_0.nii.gz").read_bytes())
    with pytest.raises(UserError, match="has no label map for case_1"):
        attention(str(tmp_path / "scans"), tmp_path / "out", references=str(tmp_path / "labels"), **arguments)
    (tmp_path / "small.json").write_text(json.dumps({"network_def#num_gates": 0, "network_def#channels": CHANNELS}))
    torch.save(AttentionUnet(3, 1, 4, channels=CHANNELS, num_gates=0).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UserError, match="no gates to show"):
        attention(str(tmp_path / "scans"), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_tissue_is_that_of_the_ct_whatever_the_other_channels_hold():
    ct, other = torch.tensor([-2.0, -2.0, 0.0, 1.0]), torch.tensor([-5.0, 0.0, 0.0, 0.0])
    assert tissue_of(torch.stack([ct, other]).view(2, 4, 1, 1)).flatten().tolist() == [False, False, True, True]
