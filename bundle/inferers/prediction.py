"""One volume through the network, with what can be learnt from its logits about how sure it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from bundle.errors import UserError
from bundle.inferers.case import Case


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
        raise UserError("attention", "this network has no gates to show", "use the default network, not an exported one or the plain U-Net")
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


def confidence(logits: Tensor) -> list[tuple[float, float] | None]:
    """For each channel, mean and minimum of its probability over the voxels it wins; None where it wins none.

    Args:
        logits: (K, X, Y, Z).
    """
    found: list[tuple[float, float] | None] = []
    flat = logits.flatten(1)
    labels = _labels(flat)
    for channel in range(len(flat)):
        inside = (labels == channel).nonzero().flatten()
        if not len(inside):
            found.append(None)
            continue
        total, least = 0.0, 1.0
        # in pieces: the background is most of the volume
        for piece in inside.split(1 << 20):
            probability = (flat[channel, piece] - flat[:, piece].logsumexp(0)).exp()
            total, least = total + float(probability.sum()), min(least, float(probability.min()))
        found.append((min(1.0, total / len(inside)), least))
    return found


def disagreement(first: Tensor, second: Tensor) -> list[float]:
    """For each channel, 1 - Dice between the labels of two sets of logits (K, X, Y, Z); 0 where both have none."""
    a, b = _labels(first.flatten(1)), _labels(second.flatten(1))
    found = []
    for channel in range(len(first)):
        in_a, in_b = a == channel, b == channel
        size = int(in_a.sum()) + int(in_b.sum())
        found.append(1 - 2 * int((in_a & in_b).sum()) / size if size else 0.0)
    return found


def _labels(flat: Tensor) -> Tensor:
    """Winning channel of each voxel of (K, N), uint8."""
    pieces = [piece.argmax(0).to(torch.uint8) for piece in flat.split(1 << 20, dim=1)]
    return torch.cat(pieces)
