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
WEIGHTS = r"\.(?P<weight>weight|bias|running_mean|running_var|num_batches_tracked)$"
# their name without the weight at its end, and ours: {fine} and {deep} are its level counted from the finest and from the deepest,
# {nth} and {which} its number, {part} as in PARTS
LEVEL, NUMBER, CONV_OR_NORM = r"(?P<level>[1-4])", r"(?P<number>[12])", r"(?P<part>[01])"
NAMES = (
    (rf"conv{LEVEL}\.conv{NUMBER}\.{CONV_OR_NORM}", "encoder.{fine}.{nth}.{part}"),
    (rf"center\.conv{NUMBER}\.{CONV_OR_NORM}", "centre.{nth}.{part}"),
    (rf"gating\.conv1\.{CONV_OR_NORM}", "gating.{part}"),
    (rf"up_concat{LEVEL}\.conv\.conv{NUMBER}\.{CONV_OR_NORM}", "decoder.{deep}.{which}.{part}"),
    (rf"attentionblock(?P<level>[2-4])\.gate_block_{NUMBER}\.(?P<part>W\.[01]|theta|phi|psi)", "skips.{deep}.gates.{nth}.{part}"),
    (rf"attentionblock(?P<level>[2-4])\.combine_gates\.{CONV_OR_NORM}", "skips.{deep}.combine.{part}"),
    (r"dsv(?P<level>[2-4])\.dsv\.0", "heads.levels.{fine}"),
    (r"dsv(?P<level>1)", "heads.levels.{fine}"),
    (r"final", "heads.final"),
)
PARTS = {"0": "conv", "1": "norm", "W.0": "W", "W.1": "norm"}
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
    for pattern, ours in NAMES:
        if match := re.match(pattern + WEIGHTS, name):
            found = match.groupdict()
            level, number, part = int(found.get("level") or 1), int(found.get("number") or 1), found.get("part")
            words = {"fine": level - 1, "deep": LEVELS - level, "nth": number - 1, "which": ("first", "second")[number - 1]}
            return f"{ours.format(**words, part=PARTS.get(str(part), part))}.{found['weight']}"
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
