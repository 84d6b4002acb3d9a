import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.clutter import crowd, infiltrate, paint_clutter
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


def test_organs_close_up_to_the_pancreas_as_far_as_they_reach(canvas):
    """The liver's highest voxel is 19, the pancreas begins at 30: of ten voxels of fat between them the lower two are within 8 mm."""
    canvas.tissues[20:40, 10:30, 30:40] = Tissue.PANCREAS
    canvas.tissues[28:32, 18:22, 24:26] = Tissue.AORTA
    canvas.rough[:] = canvas.wavy[:] = 0
    before = canvas.tissues.copy()
    crowd(canvas, 8.0, 0.0)
    column = canvas.tissues[22, 12, 20:30]
    assert column.tolist() == [Tissue.LIVER] * 2 + [Tissue.VISCERAL_FAT] * 8
    crowd(canvas, 100.0, 0.0)
    assert (canvas.tissues[22, 12, 20:30] == Tissue.LIVER).all()
    for organ in (Tissue.PANCREAS, Tissue.AORTA):
        np.testing.assert_array_equal(canvas.tissues == organ, before == organ)


def test_far_from_the_pancreas_fat_stays(canvas):
    """The pancreas begins at voxel 20 of 3 mm: 39 mm away is voxel 7, 42 mm away voxel 6."""
    canvas.tissues[20:40, 10:30, 30:40] = Tissue.PANCREAS
    canvas.rough[:] = canvas.wavy[:] = 0
    crowd(canvas, 1000.0, 0.0)
    assert canvas.tissues[6:8, 20, 35].tolist() == [Tissue.VISCERAL_FAT, Tissue.LIVER]


def test_a_seam_of_fat_stays_on_a_share_of_the_surface(canvas):
    canvas.tissues[20:40, 10:30, 30:40] = Tissue.PANCREAS
    canvas.rough[:] = 0
    canvas.wavy[:] = np.random.default_rng(0).uniform(-0.5, 0.5, canvas.shape)
    crowd(canvas, 100.0, 0.3)
    below = canvas.tissues[20:40, 10:30, 29]
    assert (below == Tissue.VISCERAL_FAT).mean() == pytest.approx(0.3, abs=0.05)
    assert (canvas.tissues[20:40, 10:30, 28] == Tissue.LIVER).all()


def test_without_a_pancreas_nothing_moves(canvas):
    before = canvas.tissues.copy()
    crowd(canvas, 100.0, 0.0)
    np.testing.assert_array_equal(canvas.tissues, before)
