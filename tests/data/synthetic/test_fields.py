import numpy as np
import pytest

from bundle.data.synthetic.fields import bspline_weights, catmull_rom, linear_resample, tile_noise


def test_linear_resample_by_hand():
    field = np.array([[0.0, 10.0, 40.0]], np.float32)
    result = linear_resample(field, np.array([-1.0, 0.5, 1.25, 2.0, 7.0]), 1)
    np.testing.assert_allclose(result, [[0.0, 5.0, 17.5, 40.0, 40.0]])


def test_bspline_weights_by_hand():
    weights = bspline_weights(np.array([0.0, 1.5]), 6)
    np.testing.assert_allclose(weights[0], [1 / 6, 4 / 6, 1 / 6, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(weights[1], [0, 1 / 48, 23 / 48, 23 / 48, 1 / 48, 0], atol=1e-7)


def test_catmull_rom_passes_through_its_points_and_interpolates_the_radius():
    points = np.array([(0.0, 0, 0, 1), (10.0, 0, 0, 3), (20.0, 0, 0, 5)])
    curve = catmull_rom(points, 5.0)
    for point in points:
        assert np.abs(curve - point).sum(1).min() < 1e-9
    np.testing.assert_allclose(curve[:, 3], 1 + curve[:, 0] / 5, atol=1e-9)


@pytest.mark.parametrize("correlation", [1.5, 12.0])
def test_tile_noise_is_standardised_and_as_smooth_as_asked(correlation):
    field = tile_noise((64, 60, 50), (2.0, 2.0, 2.0), correlation, np.random.default_rng(0))
    assert field.shape == (64, 60, 50)
    assert abs(field.mean()) < 0.25
    assert field.std() == pytest.approx(1.0, abs=0.25)
    # white noise smoothed with sigma has the autocorrelation exp(-d^2 / 4 sigma^2)
    neighbour = np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]
    assert neighbour == pytest.approx(np.exp(-(2.0**2) / (4 * correlation**2)), abs=0.12)
