import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.donors import read_donor
from bundle.data.synthetic.organs import tissue_set
from bundle.data.synthetic.tissues import LABEL_OF, Tissue
from bundle.data.synthetic.transplant import fit_body, paint_liver_veins, paint_transplant, thickening


def test_the_body_holds_the_organs_of_a_real_person(shared_data):
    donor = read_donor(shared_data / "labels" / "multiorgan" / "case_45.nii.gz")
    body, origin = fit_body(donor, np.random.default_rng(0))
    # the donor's kidney lies beside the spine, behind the middle of the body, left of the midline
    kidney = donor.organs["kidney_left"].points().mean(0) - origin
    assert -90 < kidney[0] < -45
    assert abs(kidney[1] - body.vertebra_y) < 15
    assert 100 < body.half_width < 230 and body.half_depth < body.half_width


@pytest.mark.parametrize("seed", range(4))
def test_the_cavity_is_as_wide_as_the_organs(donor, seed):
    body, origin = fit_body(donor, np.random.default_rng(seed))
    cloud = np.vstack([organ.points() for organ in donor.organs.values()]) - origin
    assert np.abs(cloud[:, 0]).max() * 0.97 + body.fat + body.wall <= body.half_width
    assert cloud[:, 1].max() < body.half_depth - body.wall and cloud[:, 1].min() > -body.half_depth


def test_organs_lie_where_the_donor_has_them_and_a_mirrored_kidney_on_the_right(donor):
    rng = np.random.default_rng(1)
    body, origin = fit_body(donor, rng)
    shape = (84, 60, 60)
    canvas = Canvas(shape, (5.0,) * 3, origin=-2.5 * (np.array(shape) - 1), rotation=np.eye(3), displacement_mm=0.0, rng=rng)
    paint_transplant(canvas, body, donor, origin)
    where = np.stack([canvas.x, canvas.y, canvas.z], -1)
    labels = LABEL_OF[canvas.tissues]
    # each is shifted by 3 mm (sd), turned by 5 degrees, scaled by 9 percent
    for value, name, radius in ((1, "pancreas", 25), (2, "spleen", 30)):
        mask = labels == value
        centre = donor.organs[name].points(step=1).mean(0) - origin
        assert np.abs(where[mask].mean(0) - centre).max() < 12
        assert 0.5 < mask.sum() * 125 / (4 / 3 * np.pi * radius**3) < 1.7
    kidney = donor.organs["kidney_left"].points(step=1).mean(0) - origin
    for side, mirror in ((-1, 1), (1, -1)):
        found = where[(labels == 3) & (side * canvas.x > 0)].mean(0)
        assert abs(found[0] - mirror * kidney[0]) < 12 and abs(found[1] - kidney[1]) < 12
        assert -26 < found[2] - kidney[2] < 10
    assert tissue_set(Tissue.LIVER, Tissue.PORTAL_VEIN, Tissue.HEPATIC_VEIN, Tissue.LUNG)[canvas.tissues].any()


def test_a_pancreas_is_thicker_or_thinner_as_a_whole_and_here_and_there(still):
    fields = []
    for seed in range(12):
        canvas = still(seed)
        fields.append(thickening(canvas, (36, 48, 80)))
    means, spreads = [field.mean() for field in fields], [field.std() for field in fields]
    assert -3 < min(means) < 0 < max(means) < 4
    assert 0.1 < min(spreads) < max(spreads) < 2.5
    # it changes over centimetres: from one voxel of 5 mm to the next by far less than it does in all
    assert max(np.abs(np.diff(field, axis=0)).mean() / field.std() for field in fields) < 0.3


def test_veins_only_within_the_liver_and_none_in_a_thin_one(still):
    canvas = still()
    everywhere = (slice(None),) * 3
    distance = np.sqrt(canvas.x**2 + canvas.y**2 + canvas.z**2) - 60
    canvas.tissues[distance < 0] = Tissue.LIVER
    thin = np.maximum(distance, -8)
    thin[34:37, 24:27, 40:43] = -20
    paint_liver_veins(canvas, everywhere, thin)
    assert set(np.unique(canvas.tissues)) == {Tissue.AIR, Tissue.LIVER}
    paint_liver_veins(canvas, everywhere, distance)
    assert (canvas.tissues[distance >= 0] == Tissue.AIR).all()
    veins = {t: canvas.z[canvas.tissues == t] for t in (Tissue.PORTAL_VEIN, Tissue.HEPATIC_VEIN)}
    # portal veins come from below, hepatic ones from above
    assert min(len(z) for z in veins.values()) > 30 and veins[Tissue.PORTAL_VEIN].mean() < veins[Tissue.HEPATIC_VEIN].mean()
