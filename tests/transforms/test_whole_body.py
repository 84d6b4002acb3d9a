"""Of a whole body, made from a label map, the abdomen alone is left; of an abdomen everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from bundle.data.synthetic.people import read_person
from bundle.data.synthetic.recipes import from_person
from bundle.transforms import CropBodyd, CropOrgansd, ResampleSpacingd

SPACING = (4.0, 4.0, 4.0)
MARGIN = 40.0


@pytest.mark.slow
def test_cost_falls_with_the_part_of_the_body_that_holds_the_organs(shared_data: Path) -> None:
    person = read_person(shared_data / "labels" / "totalsegmentator" / "s0328" / "structures.nii.gz")
    scan, labels = from_person(person, np.random.default_rng(5), SPACING, whole=True)
    organs = np.flatnonzero(labels.any(axis=(0, 1)))
    low, high = organs[0], organs[-1] + 1
    assert scan.shape[2] * 4 > 300 and high - low < 0.6 * scan.shape[2], "a long scan"
    before, after = _voxels(scan, labels, None), _voxels(scan, labels, MARGIN)
    kept = (min(high + MARGIN / 4, scan.shape[2]) - max(low - MARGIN / 4, 0)) / scan.shape[2]
    assert after / before == pytest.approx(kept, rel=0.02)
    # the same body, as an abdominal scan has it
    abdomen = slice(max(0, low - 10), high + 10)
    assert _voxels(scan[..., abdomen], labels[..., abdomen], MARGIN) == _voxels(scan[..., abdomen], labels[..., abdomen], None)


def _voxels(scan: np.ndarray, labels: np.ndarray, margin: float | None) -> int:
    """Voxels of 2 mm that the network would see; no voxel of an organ may be lost."""
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    given = {"image": MetaTensor(torch.from_numpy(scan)[None].float(), affine=affine)}
    given["label"] = MetaTensor(torch.from_numpy(labels)[None].float(), affine=affine)
    keys = ["image", "label"]
    body = CropBodyd(keys)(given)
    seen = MetaTensor(body["label"].as_tensor().to(torch.uint8), affine=body["label"].affine)
    steps = [] if margin is None else [CropOrgansd(keys, look=lambda _: seen, box="z", margin=margin)]
    cropped = Compose(steps)(body)
    assert int((cropped["label"] > 0).sum()) == int((labels > 0).sum())
    return ResampleSpacingd("image", 2.0)({"image": cropped["image"]})["image"].numel()
