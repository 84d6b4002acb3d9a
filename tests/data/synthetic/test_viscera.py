import numpy as np

from bundle.data.synthetic.people import paint_person
from bundle.data.synthetic.tissues import Tissue
from bundle.data.synthetic.viscera import confluence_of, paint_bowel, paint_vessels, shape_pancreas


def test_bowel_has_walls_and_contents(person, around):
    canvas = around(person)
    paint_person(canvas, person)
    bowel = canvas.tissues == Tissue.BOWEL_WALL
    paint_bowel(canvas)
    kinds = set(np.unique(canvas.tissues[bowel])) - {Tissue.BOWEL_WALL}
    known = {Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST, Tissue.DILUTE_CONTRAST, Tissue.GAS}
    assert kinds and kinds <= known
    surface = bowel & ~np.roll(bowel, 1, 2)
    assert (canvas.tissues[surface] == Tissue.BOWEL_WALL).all(), "the outermost voxels are wall"


def test_pancreas_becomes_thinner_or_bulkier_and_only_there(person, around):
    volumes = []
    for seed in range(6):
        canvas = around(person, seed)
        paint_person(canvas, person)
        liver = canvas.tissues == Tissue.LIVER
        shape_pancreas(canvas, person, None)
        volumes.append(int((canvas.tissues == Tissue.PANCREAS).sum()))
        assert (liver <= (canvas.tissues == Tissue.LIVER)).all()
    whole = 24 * 8 * 6
    assert min(volumes) < whole and max(volumes) > 0.9 * whole and min(volumes) > 0.2 * whole


def test_a_donors_pancreas_takes_the_place_of_the_persons(person, around, donor):
    canvas = around(person)
    paint_person(canvas, person)
    own, painted = canvas.tissues == Tissue.PANCREAS, canvas.tissues == Tissue.PORTAL_VEIN
    shape_pancreas(canvas, person, donor)
    pancreas = canvas.tissues == Tissue.PANCREAS
    where = [field[pancreas].mean() for field in (canvas.x, canvas.y, canvas.z)]
    expected = [field[own].mean() for field in (canvas.x, canvas.y, canvas.z)]
    # three times the sd of its shift: 6, 6 and 10 mm
    assert (np.abs(np.subtract(where, expected)) < (18, 18, 30)).all()
    # its own splenic vein is gone, and one along the new pancreas reaches where the portal vein begins
    portal = person.points(Tissue.PORTAL_VEIN)
    left = canvas.x < confluence_of(portal)[0] - 15
    assert (painted & left).sum() > 30 and ((canvas.tissues == Tissue.PORTAL_VEIN) & painted & left).mean() < 0.5 * (painted & left).mean()
    assert ((canvas.tissues == Tissue.PORTAL_VEIN) & ~painted).any()
    # a ball of 25 mm in place of a box of 72 x 24 x 18 mm: more, and rounder
    assert np.ptp(canvas.y[pancreas]) > 36 and np.ptp(canvas.x[pancreas]) < 60


def test_without_a_pancreas_nothing_is_shaped(person, around):
    canvas = around(person)
    paint_person(canvas, person)
    canvas.tissues[canvas.tissues == Tissue.PANCREAS] = Tissue.VISCERAL_FAT
    before = canvas.tissues.copy()
    shape_pancreas(canvas, person, None)
    np.testing.assert_array_equal(canvas.tissues, before)


def test_vessels_by_the_pancreas_and_in_the_liver(person, around):
    canvas = around(person)
    paint_person(canvas, person)
    before = canvas.tissues.copy()
    paint_vessels(canvas, person)
    changed = canvas.tissues != before
    assert set(np.unique(canvas.tissues[changed])) == {Tissue.PORTAL_VEIN, Tissue.AORTA, Tissue.HEPATIC_VEIN}
    hard = np.isin(before, (Tissue.KIDNEY_CORTEX, Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE, Tissue.MUSCLE, Tissue.AIR))
    assert not (changed & hard).any()
    assert (before[changed & (canvas.tissues == Tissue.HEPATIC_VEIN)] == Tissue.LIVER).all()
    # the superior mesenteric vein runs down from the portal vein
    portal = before == Tissue.PORTAL_VEIN
    x, y = (field[portal & (canvas.z < 20)].mean() for field in (canvas.x, canvas.y))
    lowest = (canvas.tissues == Tissue.PORTAL_VEIN) & (canvas.z < canvas.z.min() + 4)
    assert canvas.z[portal].min() > 0
    assert (np.hypot(canvas.x[lowest] - x + 4, canvas.y[lowest] - y - 10) < 12).sum() > 5
