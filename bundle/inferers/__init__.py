"""Running a network over scans: one pass where the volume fits into the memory budget, windows otherwise; folders of scans."""

from bundle.inferers.autocast import AutocastInferer, needs_scaler, validation_precision
from bundle.inferers.evaluator import CaseHandler, ScanEvaluator
from bundle.inferers.segment import segment
from bundle.inferers.setup import pick_device, start
from bundle.inferers.volume import VolumeInferer
from bundle.networks.weights import load_weights

__all__ = [
    "AutocastInferer",
    "CaseHandler",
    "ScanEvaluator",
    "VolumeInferer",
    "load_weights",
    "needs_scaler",
    "pick_device",
    "segment",
    "start",
    "validation_precision",
]
