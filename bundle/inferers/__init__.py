"""Running a network over a scan: one pass where the volume fits into the memory budget, windows otherwise."""

from bundle.inferers.volume import VolumeInferer

__all__ = ["VolumeInferer"]
