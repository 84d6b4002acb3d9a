"""One volume from a folder of DICOM files: in the order of its columns, rows and slices from feet to head."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.prepare.dicom import load_series


def test_voxels_and_places_of_a_series(dicom, scan, tmp_path):
    image, _ = scan(3, (32, 28, 6))
    dicom(tmp_path / "a", image, (2.0, 2.0, 2.5))
    array, affine, remarks = load_series(tmp_path)
    np.testing.assert_array_equal(array, image)
    assert array.dtype == np.int16 and remarks == []
    # the series begins at (-20, -30, 50) in LPS: (20, 30, 50) in RAS
    np.testing.assert_allclose(affine, [[-2, 0, 0, 20], [0, -2, 0, 30], [0, 0, 2.5, 50], [0, 0, 0, 1]], atol=1e-5)


def test_the_longest_of_several_series_is_taken_and_said(dicom, scan, tmp_path):
    image, _ = scan(3, (32, 28, 6))
    dicom(tmp_path / "scout", image[:, :, :3], (2.0, 2.0, 2.5))
    dicom(tmp_path / "scan", image, (2.0, 2.0, 2.5))
    array, _, remarks = load_series(tmp_path)
    np.testing.assert_array_equal(array, image)
    assert remarks == ["2 DICOM series: the longest (6 slices) is used"]


def test_a_folder_without_a_series(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(ValueError, match="no DICOM series"):
        load_series(tmp_path)


def test_a_real_series(shared_data):
    array, affine, remarks = load_series(shared_data / "dicom/abdomen_168")
    assert array.shape == (217, 217, 168) and remarks == [] and array.dtype == np.int16
    np.testing.assert_allclose(affine, [[-3, 0, 0, 325], [0, -3, 0, 354.8], [0, 0, 2.5, -300.5], [0, 0, 0, 1]])
