"""The recipe of the published weights: its overlays on train.json give patches that can be batched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import list_data_collate
from monai.transforms import Compose

from bundle.arguments.config import shipped_path

NOISE = {"RandHistogramShiftd", "RandGaussianSmoothd", "RandGaussianNoised", "RandScaleIntensityd", "RandShiftIntensityd"}


def _transforms(*overlays: str) -> Compose:
    """The random transforms of train.json under these overlays, without noise."""
    parser = ConfigParser()
    parser.read_config([str(shipped_path(name)) for name in ("train", *overlays)])
    transforms = Compose(parser.get_parsed_content("train#random_transforms"))
    transforms.transforms = tuple(t for t in transforms.transforms if type(t).__name__ not in NOISE)
    return transforms.set_random_state(seed=0)


@pytest.mark.parametrize("overlays", [["weights"], ["weights", "weights_real"]])
def test_patches_are_near_the_organs_three_times_in_four(repository: Path, overlays: list[str]) -> None:
    transforms = _transforms(*overlays)
    label = torch.zeros(1, 90, 90, 300)
    label[:, 40:50, 40:50, 270:280] = 2
    # the image tells where a patch was taken: its values are heights
    image = torch.arange(300.0).expand(label.shape).contiguous()
    patches = [transforms({"image": MetaTensor(image), "label": MetaTensor(label)}) for _ in range(40)]
    batch = list_data_collate(patches)
    assert batch["image"].shape == batch["label"].shape == (40, 1, 96, 96, 80)
    # a crop of 48 voxels around the organ begins at 222; what lies lower was taken from the whole scan
    low = sum(float(patch["image"][patch["image"] > 0].mean()) < 215 for patch in patches)
    assert 1 <= low <= 12


@pytest.mark.parametrize("overlays", [["weights"], ["weights", "student"], ["weights", "weights_real"], ["weights", "weights_gpu"]])
def test_a_scan_without_any_organ_gives_patches_of_all_of_it(repository: Path, overlays: list[str]) -> None:
    transforms = _transforms(*overlays)
    label = torch.zeros(1, 100, 100, 200, dtype=torch.uint8)
    image = torch.arange(1.0, 201.0).expand(label.shape).contiguous()
    patches = [transforms({"image": image, "label": label}) for _ in range(12)]
    assert not any(patch["label"].any() for patch in patches)
    heights = [float(patch["image"][patch["image"] > 1].mean()) for patch in patches]
    assert min(heights) < 90 and max(heights) > 110


@pytest.mark.parametrize(("overlays", "voxels"), [(["weights"], 48), (["weights", "student"], 20)])
def test_the_margin_is_96_mm_and_the_small_networks_64(repository: Path, overlays: list[str], voxels: int) -> None:
    crop = _transforms(*overlays).transforms[0].transforms[0]
    label = torch.zeros(1, 120, 120, 120, dtype=torch.uint8)
    label[0, 60, 50, 10:12] = 1
    data = {"image": torch.rand(label.shape), "label": label}
    got = crop(data)
    box = (slice(None), slice(60 - voxels, 61 + voxels), slice(50 - voxels if voxels < 50 else 0, 51 + voxels), slice(0, 12 + voxels))
    assert torch.equal(got["label"], label[box]) and torch.equal(got["image"], data["image"][box])
