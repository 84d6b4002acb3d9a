"""Reading weights made with the authors' public code, https://github.com/ozan-oktay/Attention-Gated-Networks (MIT)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bundle.errors import UserError
from bundle.networks.weights.files import read_state_dict, write_state_dict

LEVELS = 4  # of encoder and decoder, besides the centre: the same in all networks of that code
WEIGHTS = r"\.(weight|bias|running_mean|running_var|num_batches_tracked)$"
FIX = "convert weights of unet_CT_multi_att_dsv_3D, unet_CT_single_att_dsv_3D or unet_CT_dsv_3D"


def convert_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' network, under the names that `AttentionUnet.load_state_dict(strict=True)` takes.

    `unet_CT_multi_att_dsv_3D` fits an `AttentionUnet` with two gates, `unet_CT_single_att_dsv_3D` one with one gate,
    `unet_CT_dsv_3D` one without. Tensors are passed on as they are, no copies; a `module.` in front of names (data
    parallel training) is dropped.

    Raises:
        UserError: a name is none of those networks', or some are missing.
    """
    converted: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        target = convert_name(re.sub(r"^(module\.)+", "", name))
        if target is None:
            raise UserError("state dict", f"'{name}' is not a weight of the authors' CT networks", FIX)
        converted[target] = value
    for name in [name for name in converted if name.endswith(".running_mean")]:
        # torch before 0.4.1, on which that code ran, did not count batches
        converted.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    for part in ("encoder.0.0.norm.running_mean", "centre.1.conv.weight", "heads.final.weight"):
        if part not in converted:
            raise UserError("state dict", f"nothing in it becomes '{part}'", FIX)
    return converted


def convert_name(name: str) -> str | None:
    """Our name of one of the authors' weights; None where it is not one of theirs."""
    for pattern, target in _PATTERNS:
        match = re.match(pattern + WEIGHTS, name)
        if match:
            return f"{target(*match.groups()[:-1])}.{match.groups()[-1]}"
    return None


def network_arguments(converted: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the `AttentionUnet` that converted weights fit."""
    channels = [len(converted[f"encoder.{level}.1.conv.weight"]) for level in range(LEVELS)] + [len(converted["centre.1.conv.weight"])]
    gates = {name.split(".")[3] for name in converted if name.startswith("skips.0.gates.")}
    first = converted["encoder.0.0.conv.weight"]
    return {
        "spatial_dims": first.dim() - 2,
        "in_channels": first.shape[1],
        "out_channels": len(converted["heads.final.weight"]),
        "channels": channels,
        "num_gates": len(gates),
        "gating_conv": "gating.conv.weight" in converted or not gates,
    }


def convert_authors(checkpoint: str, out: str) -> None:
    """Convert a checkpoint file of the authors' code into weights for this bundle.

    Args:
        checkpoint: their file, for instance `300_net_S.pth`: a state dict, or a dict that holds one.
        out: the file to write, a state dict for `AttentionUnet`; for instance `models/model.pt`.
    """
    from bundle.networks.attention_unet import AttentionUnet

    converted = convert_state_dict(read_state_dict(checkpoint))
    arguments = network_arguments(converted)
    try:
        AttentionUnet(**arguments).load_state_dict(converted)
    except RuntimeError as error:
        raise UserError(checkpoint, str(error), FIX) from error
    write_state_dict(converted, out)
    print(f"{out}: {sum(value.numel() for value in converted.values()):,} values. The network they fit, for the config:")
    print('"network_def": ' + json.dumps({"_target_": "bundle.networks.AttentionUnet", **arguments}))
    print('Weights trained with torch before 0.4 need "align_corners": true besides: that was its way of up-sampling.')


def _block(number: str, part: str) -> str:
    """`1`, `2` and `0`, `1`: first or second convolution of a level, and its convolution or batch norm."""
    return f"{int(number) - 1}.{_part(part)}"


def _part(part: str) -> str:
    return "conv" if part == "0" else "norm"


def _encoder(level: str, number: str, part: str) -> str:
    return f"encoder.{int(level) - 1}.{_block(number, part)}"


def _centre(number: str, part: str) -> str:
    return f"centre.{_block(number, part)}"


def _gating(part: str) -> str:
    return f"gating.{_part(part)}"


def _decoder(level: str, number: str, part: str) -> str:
    return f"decoder.{LEVELS - int(level)}.{'first' if number == '1' else 'second'}.{_part(part)}"


def _gate(level: str, gate: str, part: str) -> str:
    return f"skips.{LEVELS - int(level)}.gates.{int(gate) - 1}.{ {'W.0': 'W', 'W.1': 'norm'}.get(part, part) }"


def _combine(level: str, part: str) -> str:
    return f"skips.{LEVELS - int(level)}.combine.{_part(part)}"


def _head(level: str) -> str:
    return f"heads.levels.{int(level) - 1}"


def _final() -> str:
    return "heads.final"


_PATTERNS = (
    (r"conv([1-4])\.conv([12])\.([01])", _encoder),
    (r"center\.conv([12])\.([01])", _centre),
    (r"gating\.conv1\.([01])", _gating),
    (r"up_concat([1-4])\.conv\.conv([12])\.([01])", _decoder),
    (r"attentionblock([2-4])\.gate_block_([12])\.(W\.[01]|theta|phi|psi)", _gate),
    (r"attentionblock([2-4])\.combine_gates\.([01])", _combine),
    (r"dsv([2-4])\.dsv\.0", _head),
    (r"dsv(1)", _head),
    (r"final", _final),
)
