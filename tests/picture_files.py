"""What is in a picture that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def pixels(path: Path) -> np.ndarray:
    """(rows, columns, 3) of a PNG."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def near(picture: np.ndarray, shade, tolerance: int = 60) -> np.ndarray:
    """(n, 2) rows and columns of pixels of about this colour."""
    return np.argwhere(np.abs(picture - np.array(shade)).max(axis=2) <= tolerance)
