"""Running a network over a scan: one pass where the volume fits into the memory budget, windows otherwise."""

from bundle.inferers.autocast import AutocastInferer, needs_scaler, validation_precision
from bundle.inferers.volume import VolumeInferer

__all__ = ["AutocastInferer", "VolumeInferer", "needs_scaler", "validation_precision"]
