"""One volume through the network, with what can be learnt from its logits about how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from bundle.engines.case import Case
from bundle.inferers.attention import with_attention
from bundle.inferers.confidence import Confidence, confidence, disagreement

Calibrate = Callable[[Sequence[Confidence | None]], list[Confidence | None]]


def predict(
    case: Case,
    network: Callable[[Tensor], Tensor],
    inferer: Inferer,
    device: torch.device,
    *,
    flips: bool = False,
    attention: bool = False,
    calibrate: Calibrate | None = None,
) -> None:
    """Fill in `case.data["pred"]` (K, X, Y, Z, float32, on the image's grid), confidence, flip disagreement and attention.

    Args:
        case: its `data["image"]` is the preprocessed volume (1, X, Y, Z).
        network: what maps (B, 1, *spatial) to logits.
        inferer: how the network sees the volume.
        device: where the network runs.
        flips: average over the mirror image too.
        attention: keep the gates' coefficients.
        calibrate: changes the expected Dice, such as `bundle.inferers.calibration.Calibration`.

    Raises:
        UserError: attention asked of a network that has no gates to look at.
    """
    image = case.data["image"]
    volume = image.as_tensor()[None].to(device)
    if attention:
        logits, maps = with_attention(volume, network, inferer)
        case.attention |= {level: coefficients.cpu() for level, coefficients in maps.items()}
        del maps
    else:
        logits = inferer(volume, network)[0]
    if flips:
        # the axis from the patient's right to the left: the image is in RAS
        mirrored = inferer(volume.flip(2), network)[0].flip(1)
        case.flip_disagreement = disagreement(logits, mirrored)
        logits = logits.add_(mirrored).div_(2)
    logits = logits.cpu()
    sure = confidence(logits)
    case.confidence = sure if calibrate is None else calibrate(sure)
    case.data["pred"] = MetaTensor(logits, affine=image.affine)
