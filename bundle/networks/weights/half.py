"""Weights at half their size: kernels in half precision, everything else as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bundle.errors import UserError
from bundle.networks.weights.files import read_weights, write_state_dict


def half_precision(weights: str, out: str) -> None:
    """Write the weights of a checkpoint with their kernels in half precision; networks load them as float32.

    Biases, batch norms and their statistics stay in float32: they are few, and some are too small for half precision.

    Args:
        weights: checkpoint file.
        out: the file to write; for instance `models/model.pt`.

    Raises:
        UserError: the file cannot be read, or a value is too large for half precision.
    """
    state_dict, learnt = read_weights(weights)
    halved = in_half_precision(state_dict, weights)
    before = Path(weights).stat().st_size
    write_state_dict(halved, out, learnt)
    print(f"{out}: {Path(out).stat().st_size / 2**20:.1f} MB ({weights}: {before / 2**20:.1f} MB)")


def in_half_precision(state_dict: Mapping[str, Tensor], where: str | os.PathLike = "state dict") -> dict[str, Tensor]:
    """The weights with every floating-point tensor of two or more axes as float16, the others as they are.

    Raises:
        UserError: a value is too large for half precision (beyond 65504).
    """
    halved = {name: value.half() if value.is_floating_point() and value.dim() > 1 else value for name, value in state_dict.items()}
    too_large = [name for name, value in halved.items() if value.dtype == torch.float16 and not torch.isfinite(value).all()]
    if too_large:
        raise UserError(where, f"{too_large[0]} holds values beyond 65504", "keep these weights in float32")
    return halved
