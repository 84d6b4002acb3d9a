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


@pytest.mark.parametrize("overlays", [["weights"], ["weights", "weights_real"]])
def test_patches_are_near_the_organs_three_times_in_four(repository: Path, overlays: list[str]) -> None:
    parser = ConfigParser()
    parser.read_config([str(shipped_path(name)) for name in ("train", *overlays)])
    transforms = Compose(parser.get_parsed_content("train#random_transforms"))
    label = torch.zeros(1, 90, 90, 300)
    label[:, 40:50, 40:50, 270:280] = 2
    # the image tells where a patch was taken: its values are heights
    image = torch.arange(300.0).expand(label.shape).contiguous()
    noise = {"RandHistogramShiftd", "RandGaussianSmoothd", "RandGaussianNoised", "RandScaleIntensityd", "RandShiftIntensityd"}
    transforms.transforms = tuple(t for t in transforms.transforms if type(t).__name__ not in noise)
    transforms.set_random_state(seed=0)
    patches = [transforms({"image": MetaTensor(image), "label": MetaTensor(label)}) for _ in range(40)]
    batch = list_data_collate(patches)
    assert batch["image"].shape == batch["label"].shape == (40, 1, 96, 96, 80)
    # a crop of 48 voxels around the organ begins at 222; what lies lower was taken from the whole scan
    low = sum(float(patch["image"][patch["image"] > 0].mean()) < 215 for patch in patches)
    assert 1 <= low <= 12
