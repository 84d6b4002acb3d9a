"""The training's forward pass in mixed precision, on a GPU and on a CPU that computes bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import SimpleInferer

from bundle.errors import UserError
from bundle.inferers.gradients import cpu_gradients_are_right
from bundle.inferers.precision import choose_precision
from bundle.networks.sizes import fitted
from bundle.networks.small_convolutions import SmallConvolutionsInFloat32


class AutocastInferer(SimpleInferer):
    """MONAI's `SimpleInferer` under autocast, with the input in channels-last memory and logits in float32.

    MONAI's trainer knows `torch.autocast("cuda")` only; bfloat16 on a CPU with AMX is several times faster than float32 as
    well. There, convolutions whose gradients would be wrong are kept in float32 (`bundle.networks.small_convolutions`). bfloat16 has the
    range of float32 and needs no loss scaling; a GPU without it takes float16 and the trainer's own scaler (see
    `needs_scaler`). Logits come back as float32, so that the loss is never rounded.

    Args:
        amp: "auto" (what the hardware computes natively), True (bfloat16, float16 where a GPU lacks it), False (float32).
        device: where the network runs.
    """

    def __init__(self, amp: bool | str = "auto", device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.device_type = torch.device(device).type
        self.dtype = amp_dtype(amp, device)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Run `network` on (B, C, X, Y, Z) or (B, C, X, Y); lists of tensors, as deep supervision gives, stay lists."""
        memory = {4: torch.channels_last, 5: torch.channels_last_3d}.get(inputs.dim(), torch.contiguous_format)
        learning_in_bf16 = self.device_type == "cpu" and self.dtype == torch.bfloat16 and torch.is_grad_enabled()
        # torch.compile cannot trace MONAI's MetaTensor
        volume = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        guard = SmallConvolutionsInFloat32() if learning_in_bf16 else nullcontext()
        with torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype != torch.float32), guard:
            out = fitted(network, volume.contiguous(memory_format=memory), *args, **kwargs)
        return [item.float() for item in out] if isinstance(out, (list, tuple)) else out.float()


def amp_dtype(amp: bool | str, device: torch.device | str) -> torch.dtype:
    """The number format that the key `amp` ("auto", true or false) means on a device."""
    named = {"auto": "auto", "true": "bf16", "false": "fp32"}
    name = str(amp).lower()
    if name not in named:
        raise UserError("amp", f"{amp!r} is not a choice", "use auto, true or false")
    if torch.device(device).type == "cpu" and name != "false":
        return _cpu_dtype(name)
    # a GPU before Ampere emulates bfloat16 slowly: its own mixed precision is float16, which `auto` knows
    return choose_precision("auto" if name == "true" and torch.device(device).type == "cuda" else named[name], device)


def _cpu_dtype(name: str) -> torch.dtype:
    """bfloat16 where this CPU's gradients in it are right: asked for ("true"), or computed natively ("auto")."""
    if name == "auto" and choose_precision("auto", "cpu") == torch.float32:
        return torch.float32
    if cpu_gradients_are_right():
        return torch.bfloat16
    if name == "true":
        raise UserError("amp", "this CPU's gradients of bfloat16 convolutions are wrong, so nothing would be learnt", "use auto or false")
    return torch.float32


def needs_scaler(amp: bool | str, device: torch.device | str) -> bool:
    """Whether the trainer must scale its loss: only float16, hence GPUs without bfloat16."""
    return amp_dtype(amp, device) == torch.float16


def validation_precision(amp: bool | str) -> str:
    """The `precision` of `bundle.inferers.VolumeInferer` that goes with the key `amp`."""
    return "fp32" if str(amp).lower() == "false" else "auto"
