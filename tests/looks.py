"""Looks at a scan that stand in for the first stage of a cascade."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor


class Above:
    """Label 1 where the scan is above 100 HU, on its own grid; takes the arguments of `CoarseLook` and heeds none."""

    HU = 100

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments

    def __call__(self, image: MetaTensor) -> MetaTensor:
        return MetaTensor((image.as_tensor() > self.HU).to(torch.uint8), affine=image.affine)
