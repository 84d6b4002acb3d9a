"""Running a network over scans: one pass where the volume fits into the memory budget, windows otherwise; folders of scans."""

from importlib import import_module
from typing import Any

from bundle.inferers.autocast import AutocastInferer, needs_scaler, validation_precision
from bundle.inferers.begin import pick_device, start
from bundle.inferers.coarse_look import CoarseLook
from bundle.inferers.volume import VolumeInferer
from bundle.networks.weights import load_weights

__all__ = [
    "AutocastInferer",
    "CoarseLook",
    "VolumeInferer",
    "load_weights",
    "needs_scaler",
    "pick_device",
    "start",
    "validation_precision",
]

# what is one room higher, and is also asked for here
_HIGHER = {"CaseHandler": "bundle.engines", "ScanEvaluator": "bundle.engines", "segment": "bundle.engines"}


def __getattr__(name: str) -> Any:
    if name in _HIGHER:
        return getattr(import_module(_HIGHER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
