import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas, rotation_matrix


def make_canvas(rotation=None, displacement=0.0):
    rotation = np.eye(3) if rotation is None else rotation
    rng = np.random.default_rng(3)
    return Canvas(
        (60, 50, 40), (2.0, 2.0, 3.0), origin=np.array([-59.0, -49, -58.5]), rotation=rotation, displacement_mm=displacement, rng=rng
    )


def test_coordinates_by_hand():
    canvas = make_canvas()
    assert (canvas.x[0, 0, 0], canvas.y[0, 0, 0], canvas.z[0, 0, 0]) == (-59.0, -49.0, -58.5)
    assert (canvas.x[3, 0, 0], canvas.y[0, 4, 0], canvas.z[0, 0, 5]) == (-53.0, -41.0, -43.5)
    # a quarter turn about z takes the patient's x to the body's y
    canvas = make_canvas(rotation_matrix((0, 0, 90)))
    assert canvas.y[3, 0, 0] == pytest.approx(-53.0, abs=1e-3)


def test_volumes_of_shapes():
    canvas = make_canvas()
    voxel = 2 * 2 * 3.0
    _, distance = canvas.ellipsoid((3, -2, 4), (20, 15, 25), angles=(20, 0, 40))
    assert (distance < 0).sum() * voxel == pytest.approx(4 / 3 * np.pi * 20 * 15 * 25, rel=0.02)
    _, distance = canvas.tube([(-20, 0, 0, 10), (0, 0, 0, 10), (20, 0, 0, 10)])
    assert (distance < 0).sum() * voxel == pytest.approx(np.pi * 100 * 40 + 4 / 3 * np.pi * 1000, rel=0.08)


def test_to_grid_inverts_pose_and_displacement():
    canvas = make_canvas(rotation_matrix((8, -5, 12)) * 1.05, displacement=4.0)
    i, j, k = 25, 30, 18
    point = [[canvas.x[i, j, k], canvas.y[i, j, k], canvas.z[i, j, k]]]
    np.testing.assert_allclose(canvas.to_grid(point)[0], (i, j, k), atol=0.25)


def test_paint_respects_what_may_not_be_painted_over():
    canvas = make_canvas()
    box = canvas.box(np.array([0, 0, 0]), np.array([3, 3, 3]))
    canvas.paint(box, np.ones((4, 4, 4), bool), 5)
    over = np.zeros(256, bool)
    over[0] = True
    canvas.paint(canvas.box(np.array([0, 0, 0]), np.array([9, 9, 9])), np.ones((10, 10, 10), bool), 7, over=over)
    assert (canvas.tissues == 5).sum() == 64
    assert (canvas.tissues == 7).sum() == 1000 - 64
