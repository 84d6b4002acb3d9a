"""The engine of a classifier over a folder of scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor

from bundle.engines.case import Case
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError


class ClassEvaluator(ScanEvaluator):
    """A `ScanEvaluator` whose network gives one answer for a scan: `pred` is (K,), the probabilities of the classes.

    With `attention` the coefficients of the gates are kept: `case.attention`, level to (1, X, Y, Z) on the grid of the preprocessed
    image, relative to the largest.

    Args:
        inferer: a `bundle.inferers.classifier.ClassInferer`.
        keys: those of `ScanEvaluator`.

    Raises:
        UserError: flips are asked for.
    """

    def __init__(self, *, inferer: Any, **keys: Any) -> None:
        if keys.get("flips"):
            raise UserError("flips", "a classifier has none", "leave it out")
        super().__init__(inferer=inferer, **keys)

    def _check_gates(self) -> None:
        if not hasattr(self.network, "attention"):
            raise UserError("attention", "this network has no gates to show", "leave it out, or use an AttentionSononet")

    def _predict(self, case: Case, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        volume = case.data["image"].as_tensor()[None].to(self.state.device)
        if not self.attention:
            logits = self.inferer(volume, network)
        else:
            inferer: Any = self.inferer
            logits, maps = inferer.attention(volume, network)
            case.attention = {level: alpha[0].cpu() for level, alpha in maps.items()}
        probabilities = logits[0].float().softmax(0).cpu()
        if not bool(torch.isfinite(probabilities).all()):
            raise UserError(case.source, "the network's output is not finite", "look at the scan, and at the weights")
        case.data["pred"] = MetaTensor(probabilities)
