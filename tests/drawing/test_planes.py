"""Every axis order gives the same picture, the right way round."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.drawing.planes import PLANES, Views
from bundle.quality.measure import measure_structures

ORDERS = ["RAS", "LPS", "LAI", "ASR", "SPL", "IRP"]


@pytest.mark.parametrize("codes", ORDERS)
def test_pictures_do_not_depend_on_how_the_scan_is_stored(abdomen, codes):
    image, labels, affine = abdomen.stored(codes)
    views, plain = Views(affine, image.shape), Views(abdomen.affine, abdomen.image.shape)
    centre = views.centre(measure_structures(labels, affine, abdomen.structures).values())
    assert centre == plain.centre(measure_structures(abdomen.labels, abdomen.affine, abdomen.structures).values())
    for plane in PLANES:
        window, expected = views.body(image, plane, centre), plain.body(abdomen.image, plane, centre)
        assert (window.rows, window.columns, window.size_mm) == (expected.rows, expected.columns, expected.size_mm)
        assert np.array_equal(views.picture(labels, window), plain.picture(abdomen.labels, expected))


def test_radiological_convention(abdomen):
    """One voxel at the patient's right, front, top: left and top in each picture that shows its side."""
    volume = np.zeros((10, 12, 14), np.uint8)
    volume[8, 10, 12] = 1
    views = Views(np.eye(4), volume.shape)
    for plane, row, column in (("axial", 1, 1), ("coronal", 1, 1), ("sagittal", 1, 1)):
        picture = views.picture(volume, views.whole(plane, (8, 10, 12)))
        assert np.argwhere(picture).tolist() == [[row, column]], plane
    assert views.picture(volume, views.whole("sagittal", (8, 10, 12))).shape == (14, 12)
    assert PLANES["axial"][3] == "RLAP" and PLANES["sagittal"][3] == "APSI"


def test_slices_are_counted_as_the_file_counts_them():
    volume = (10, 12, 14)
    assert Views(np.eye(4), volume).whole("axial", (0, 0, 4)).caption == "axial, slice 5 of 14"
    downwards = np.diag([1.0, 1.0, -1.0, 1.0])
    assert Views(downwards, volume).whole("axial", (0, 0, 4)).caption == "axial, slice 10 of 14"


def test_millimetres_follow_the_voxels_and_the_body_is_cropped(abdomen):
    views = Views(abdomen.affine, abdomen.image.shape)
    whole = views.whole("coronal", (0, 0, 0))
    assert whole.size_mm == (24 * 8.0, 40 * 5.0)
    body = views.body(abdomen.image, "axial", (20, 16, 12))
    # body 3..37 and 4..28 of 40x32, 10 mm = 2 voxels of margin; rows and columns run against the axes
    assert body.columns == (40 - 37 - 2, 40 - 3 + 2) and body.rows == (32 - 28 - 2, 32 - 4 + 2)


def test_a_whole_body_is_cut_to_what_surrounds_the_organs():
    image = np.zeros((10, 10, 400), np.float32)
    window = Views(np.diag([5.0, 5.0, 5.0, 1.0]), image.shape).body(image, "coronal", (5, 5, 300))
    assert window.size_mm[0] == 480.0
    assert window.rows == (400 - 1 - 300 - 48, 400 - 1 - 300 + 48)


def test_around_a_structure(abdomen):
    measured = measure_structures(abdomen.labels, abdomen.affine, {"spleen": 2})
    window = Views(abdomen.affine, abdomen.labels.shape).around("axial", (8, 11, 16), measured.values(), margin_mm=10.0)
    assert window.columns == (40 - 11 - 2, 40 - 6 + 2) and window.rows == (32 - 14 - 2, 32 - 9 + 2)


def test_an_affine_without_directions_still_gives_a_picture():
    views = Views(np.zeros((4, 4)), (5, 6, 7))
    assert views.picture(np.ones((5, 6, 7)), views.whole("axial", (2, 3, 3))).shape == (6, 5)
    assert views.spacing == (1.0, 1.0, 1.0)
