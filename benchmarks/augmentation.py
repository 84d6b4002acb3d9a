"""Seconds for one random patch, ours against MONAI's lazy pipeline: `python benchmarks/augmentation.py`."""

from __future__ import annotations

import math
import time

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandAffined, RandSpatialCropd, SpatialPadd

from bundle.transforms import RandCropAffined

KEYS, PATCH, SCAN = ["image", "label"], (160, 160, 96), (190, 160, 180)


def main(repeats: int = 5) -> None:
    """Print the best of `repeats` runs for both, image and label of one scan, on one thread."""
    torch.set_num_threads(1)
    scan = {"image": torch.randn(1, *SCAN), "label": torch.randint(0, 4, (1, *SCAN), dtype=torch.uint8)}
    lazy = Compose(
        [
            SpatialPadd(KEYS, PATCH),
            RandSpatialCropd(KEYS, PATCH, random_size=False),
            RandAffined(
                KEYS,
                prob=1.0,
                rotate_range=[math.pi / 12] * 3,
                translate_range=[0.1 * size for size in PATCH],
                scale_range=(-0.3, 0.3),
                spatial_size=PATCH,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
        ],
        lazy=True,
    )
    for name, transform, wrap in (("RandCropAffined", RandCropAffined(KEYS, PATCH), torch.Tensor.clone), ("MONAI, lazy", lazy, MetaTensor)):
        seconds = []
        for _ in range(repeats):
            item = {key: wrap(value) for key, value in scan.items()}
            begun = time.perf_counter()
            transform(item)
            seconds.append(time.perf_counter() - begun)
        print(f"{name:16s} {min(seconds):.3f} s")


if __name__ == "__main__":
    main()
