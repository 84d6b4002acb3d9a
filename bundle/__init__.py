"""Attention U-Net for abdominal CT: the plugin package of the MONAI bundle. Importing it imports nothing heavy."""

from pathlib import Path

__version__ = "0.1.0"


def root() -> str:
    """Folder of the bundle (it holds `configs/` and `models/`): configs use it as the default of `bundle_root`."""
    return str(Path(__file__).resolve().parent.parent)
