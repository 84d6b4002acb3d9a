"""Coefficients of gates over the scan, in colour."""

from __future__ import annotations

import numpy as np
import pytest
from picture_files import pixels

from bundle.pictures.attention_preview import attention_preview


def test_high_coefficients_are_bright(tmp_path, abdomen):
    alpha = np.where(abdomen.labels == 2, 0.9, 0.1).astype(np.float32)
    scan_only = pixels(attention_preview(abdomen.image, {}, tmp_path / "0.png", affine=abdomen.affine))
    path = attention_preview(
        abdomen.image, {"level 2": alpha}, tmp_path / "1.png", affine=abdomen.affine, labels=abdomen.labels, structures=abdomen.structures
    )
    picture = pixels(path)
    assert picture.shape[0] > scan_only.shape[0] + 100
    # inferno's top, 60 % over grey: bright yellow, which no grey pixel is
    yellow = (picture[..., 0] > 170) & (picture[..., 1] > 170) & (picture[..., 2] < picture[..., 0] - 40)
    assert yellow[: picture.shape[0] // 2 - 40].sum() < yellow[picture.shape[0] // 2 - 40 :].sum()
    in_bytes = {"level 2": np.rint(alpha * 255).astype(np.uint8)}
    again = {"affine": abdomen.affine, "labels": abdomen.labels, "structures": abdomen.structures}
    difference = np.abs(pixels(attention_preview(abdomen.image, in_bytes, tmp_path / "3.png", **again)) - picture)
    assert (difference > 4).mean() < 0.001, "bytes stand for 1/255"
    with pytest.raises(ValueError, match="level 2 has the shape"):
        attention_preview(abdomen.image, {"level 2": alpha[1:]}, tmp_path / "2.png")
