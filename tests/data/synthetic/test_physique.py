from dataclasses import replace

import numpy as np
import pytest

from bundle.data.synthetic.physique import Physique


def test_points_of_the_average_body_by_hand(physique):
    points = [[66.0, 0, 62], [-100, -36, 4]]
    np.testing.assert_allclose(physique.place(points), points)
    # a cavity of 260 mm, not 130; a front wall 224 mm, not 112, before the spine; a trunk longer by a tenth
    large = replace(physique, half_width=280.0, half_depth=214.0, stretch=1.1)
    np.testing.assert_allclose(large.place([[66.0, 0, 62, 7]]), [[132, 30, 68.2, 7]])


def test_spine_and_size_by_hand(physique):
    x, y = physique.spine(np.array([-40.0]))
    assert x[0] == pytest.approx(3 * np.sin(-4 / 7)) and y[0] == pytest.approx(-30 + 10 * 0.4)
    assert physique.size == 1
    assert replace(physique, half_width=280.0).size == pytest.approx(2**0.35)


def test_drawn_builds_are_bodies():
    drawn = [Physique.draw(np.random.default_rng(seed)) for seed in range(300)]
    assert drawn[7] == Physique.draw(np.random.default_rng(7)) != drawn[8]
    for body in drawn:
        assert 60 <= body.vertebra_y + body.half_depth - 0.8 * body.fat <= 70
        assert 0 <= body.visceral <= 1 and body.fat >= 7 and body.half_depth < body.half_width
    widths, fat, visceral = (np.array([getattr(body, name) for body in drawn]) for name in ("half_width", "fat", "visceral"))
    assert np.corrcoef(widths, fat)[0, 1] > 0.6 and np.corrcoef(widths, visceral)[0, 1] > 0.4
