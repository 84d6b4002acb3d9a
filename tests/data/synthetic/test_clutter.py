import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.clutter import infiltrate, paint_clutter
from bundle.data.synthetic.physique import Physique
from bundle.data.synthetic.tissues import Tissue


@pytest.fixture
def canvas():
    """A block of fat around the origin of the body, with a slab of liver in its lower half."""
    rng = np.random.default_rng(0)
    canvas = Canvas((60, 40, 50), (3.0, 3.0, 3.0), origin=(-90, -45, -75), rotation=np.eye(3), displacement_mm=0.0, rng=rng)
    canvas.tissues[:] = Tissue.VISCERAL_FAT
    canvas.tissues[:, :, :20] = Tissue.LIVER
    return canvas


def test_clutter_fills_fat_and_leaves_everything_else(canvas):
    body = Physique.draw(np.random.default_rng(1))
    paint_clutter(canvas, body, 0.0)
    assert set(np.unique(canvas.tissues)) == {Tissue.LIVER, Tissue.VISCERAL_FAT}
    shares = []
    for amount in (0.3, 1.2):
        paint_clutter(canvas, body, amount)
        assert (canvas.tissues[:, :, :20] == Tissue.LIVER).all()
        shares.append((canvas.tissues[:, :, 20:] != Tissue.VISCERAL_FAT).mean())
    assert 0.005 < shares[0] < shares[1] < 0.7
    assert not np.isin(canvas.tissues, [Tissue.PANCREAS, Tissue.SPLEEN, Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA]).any()


def test_fat_takes_the_wanted_share_of_the_pancreas_and_nothing_else(canvas):
    canvas.tissues[20:40, 10:30, 25:45] = Tissue.PANCREAS
    before = canvas.tissues.copy()
    infiltrate(canvas, 0.0)
    np.testing.assert_array_equal(canvas.tissues, before)
    infiltrate(canvas, 0.25)
    pancreas = before == Tissue.PANCREAS
    assert (canvas.tissues[pancreas] == Tissue.VISCERAL_FAT).mean() == pytest.approx(0.25, abs=1e-3)
    np.testing.assert_array_equal(canvas.tissues[~pancreas], before[~pancreas])
