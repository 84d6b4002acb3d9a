"""One volume through the network, with what can be learnt from its logits about how sure it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from bundle.engines.case import Case
from bundle.errors import UserError
from bundle.inferers.confidence import confidence, disagreement

ATTENTION_FIX = "use the default network with one checkpoint, not an exported network, an ensemble or the plain U-Net"


def predict(
    case: Case, network: Callable[[Tensor], Tensor], inferer: Inferer, device: torch.device, *, flips: bool = False, attention: bool = False
) -> None:
    """Fill in `case.data["pred"]` (K, X, Y, Z, float32, on the image's grid), confidence, flip disagreement and attention.

    Args:
        case: its `data["image"]` is the preprocessed volume (1, X, Y, Z).
        network: what maps (B, 1, *spatial) to logits.
        inferer: how the network sees the volume.
        device: where the network runs.
        flips: average over the mirror image too.
        attention: keep the gates' coefficients.

    Raises:
        UserError: attention asked of a network that has no gates to look at.
    """
    image = case.data["image"]
    volume = image.as_tensor()[None].to(device)
    if attention:
        logits = _with_attention(case, network, inferer, volume)
    else:
        logits = inferer(volume, network)[0]
    if flips:
        # the axis from the patient's right to the left: the image is in RAS
        mirrored = inferer(volume.flip(2), network)[0].flip(1)
        case.flip_disagreement = disagreement(logits, mirrored)
        logits = logits.add_(mirrored).div_(2)
    logits = logits.cpu()
    case.confidence = confidence(logits)
    case.data["pred"] = MetaTensor(logits, affine=image.affine)


def _with_attention(case: Case, network: Callable[[Tensor], Tensor], inferer: Inferer, volume: Tensor) -> Tensor:
    """Logits, with the gates' coefficients as further channels, so that windows are blended for both alike."""
    if not getattr(network, "num_gates", 0) or not hasattr(network, "attention"):
        raise UserError("attention", "this network has no gates to show", ATTENTION_FIX)
    levels: list[int] = []

    def both(x: Tensor) -> Tensor:
        logits, maps = network.attention(x)
        levels[:] = sorted(maps)
        return torch.cat([logits.float(), *(maps[level].resampled.float() for level in levels)], 1)

    # the inferer lays out modules, not functions
    network.to(memory_format=torch.channels_last_3d)
    channels = inferer(volume, both)[0]
    gates = network.num_gates
    classes = len(channels) - gates * len(levels)
    for number, level in enumerate(levels):
        start = classes + number * gates
        case.attention[level] = channels[start : start + gates].cpu()
    return channels[:classes].clone()
