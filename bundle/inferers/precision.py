"""Which number format the network runs in on this machine."""

from __future__ import annotations

import torch

from bundle.errors import UserError
from bundle.inferers.gradients import cpu_has_bf16

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def choose_precision(precision: str, device: torch.device | str) -> torch.dtype:
    """The number format for a device: "auto" takes bfloat16 or float16 only where the hardware computes it natively.

    Args:
        precision: "auto", "fp32", "bf16" or "fp16".
        device: where the network runs.

    Raises:
        UserError: an unknown name, or fp16 asked for on the CPU, where convolutions lack it.
    """
    device = torch.device(device)
    if precision not in PRECISIONS:
        raise UserError("precision", f"{precision!r} is not a number format", f"use one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision", "fp16 needs a GPU", "use auto, fp32 or bf16 on the CPU")
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32
