import numpy as np
import pytest
from scipy import ndimage

from bundle.data.synthetic.organs import ROOM
from bundle.data.synthetic.portal_system import paint_along_pancreas
from bundle.data.synthetic.tissues import Tissue

VEIN = Tissue.PORTAL_VEIN


@pytest.fixture
def body(still):
    """`body(seed, spleen)`: a pancreas of 140 x 25 x 30 mm from left to right in fat, and a spleen 35 mm left of its tail."""

    def make(seed: int = 0, spleen: bool = True):
        canvas = still(seed)
        canvas.tissues[:] = Tissue.VISCERAL_FAT
        canvas.tissues[(np.abs(canvas.x) < 70) & (np.abs(canvas.y - 20) < 12.5) & (np.abs(canvas.z) < 15)] = Tissue.PANCREAS
        if spleen:
            canvas.tissues[(canvas.x < -105) & (canvas.x > -150) & (np.abs(canvas.y) < 30) & (np.abs(canvas.z) < 40)] = Tissue.SPLEEN
        return canvas

    return make


@pytest.mark.parametrize("seed", range(4))
def test_the_splenic_vein_runs_along_the_back_from_the_spleen_to_the_neck(body, seed):
    canvas = body(seed)
    before = canvas.tissues.copy()
    paint_along_pancreas(canvas)
    vein = canvas.tissues == VEIN
    # of the pancreas's 140 mm, 105 from the tail are body and tail; each slice across them has the vein, at the back
    for x in np.arange(-65, 30, 5.0):
        here = vein & (np.abs(canvas.x - x) < 2.6) & (np.abs(canvas.z) < 25)
        assert here.any() and -4 < canvas.y[here].mean() < 20
    assert (vein & (canvas.x < -85) & (canvas.x > -105)).any(), "it reaches the hilum"
    assert (canvas.tissues == Tissue.SPLEEN).sum() == (before == Tissue.SPLEEN).sum()
    # it lies in a groove: it took some of the pancreas, and most of it is left
    pancreas = before == Tissue.PANCREAS
    assert 0.75 < (canvas.tissues[pancreas] == Tissue.PANCREAS).mean() < 0.99 and (canvas.tissues[pancreas] == VEIN).any()
    # voxels are wider than the thinnest branches, so that some of theirs may miss each other
    assert ndimage.label(ndimage.binary_dilation(vein))[1] == 1, "one tree"
    # up to the liver's hilum and down into the mesentery
    assert canvas.z[vein].max() > 25 and canvas.z[vein].min() < -50
    assert set(np.unique(canvas.tissues[canvas.tissues != before])) == {VEIN, Tissue.AORTA}


def test_to_a_confluence_that_is_there(body):
    canvas = body()
    paint_along_pancreas(canvas, np.array([40.0, 5.0, 0.0]))
    vein = canvas.tissues == VEIN
    near = vein & (np.abs(canvas.x - 40) < 6) & (np.abs(canvas.y - 5) < 8) & (np.abs(canvas.z) < 8)
    assert near.any() and np.abs(canvas.z[vein & (canvas.x > 0)]).max() < 30, "no portal and mesenteric vein of its own"


def test_without_a_spleen_near_it_begins_at_the_tail(body):
    canvas = body(spleen=False)
    paint_along_pancreas(canvas)
    assert canvas.x[canvas.tissues == VEIN].min() > -80


def test_too_little_of_a_pancreas_and_what_may_not_be_painted_over(body, still):
    canvas = still()
    canvas.tissues[30:33, 20:23, 30:33] = Tissue.PANCREAS
    before = canvas.tissues.copy()
    paint_along_pancreas(canvas)
    np.testing.assert_array_equal(canvas.tissues, before)
    canvas = body()
    canvas.tissues[ROOM[canvas.tissues]] = Tissue.CORTICAL_BONE
    paint_along_pancreas(canvas)
    assert (canvas.tissues != Tissue.CORTICAL_BONE).sum() == (body().tissues != Tissue.VISCERAL_FAT).sum()
