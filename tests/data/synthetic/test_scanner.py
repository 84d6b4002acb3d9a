import numpy as np
import pytest

from bundle.data.synthetic.scanner import Scan, add_noise, expose, resample, resample_labels


def make_scan(spacing, **changes):
    values = {"thickness": spacing[2], "blur": 0.5, "noise": 10.0, "grain": 0.6, **changes}
    return Scan(spacing=spacing, **values)


def test_partial_volume_of_a_thick_slice():
    # a 2 mm plate of 100 HU in a 10 mm slice adds a fifth of its contrast
    image = np.zeros((24, 24, 61), np.float32)
    image[:, :, 29:31] = 100
    thick = expose(image, (1.0, 1.0, 1.0), make_scan((1.0, 1.0, 10.0)), (24, 24, 6))
    assert thick[12, 12].sum() == pytest.approx(20.0, rel=0.1)
    assert thick[12, 12].max() < 25
    np.testing.assert_allclose(thick[4, 4], thick[12, 12], atol=1e-3)


def test_resample_keeps_centre_and_axes():
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32)[:, None, None], (9, 4, 4))
    coarse = resample(ramp, (1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (3, 4, 4))
    np.testing.assert_allclose(coarse[:, 0, 0], [1, 4, 7])


def test_resample_labels_goes_with_the_majority():
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[:8] = 3
    labels[8:] = 1
    fine = resample_labels(labels, (2.0, 2.0, 2.0), (1.0, 1.0, 1.0), (32, 32, 32))
    assert set(np.unique(fine)) == {1, 3}
    assert (fine[:16] == 3).all() and (fine[16:] == 1).all()


def test_noise_has_the_level_asked_and_is_correlated():
    scan = make_scan((1.0, 1.0, 2.0), noise=12.0, grain=0.9)
    body = np.zeros((128, 128, 12), np.float32)
    noise = add_noise(body, scan, np.random.default_rng(1))
    expected = 12.0 * np.sqrt(2e4 / 7e4)  # 164 cm2 of body are fewer than the 200 below which the level stays
    assert noise.std() == pytest.approx(expected, rel=0.05)
    assert np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1] > 0.4
