import numpy as np
import pytest

from bundle.data.synthetic import organs
from bundle.data.synthetic.tissues import Tissue

ML = 0.125  # a voxel of 5 mm


@pytest.fixture
def fat(still):
    """`fat(seed)`: a canvas full of visceral fat."""

    def make(seed=0):
        canvas = still(seed)
        canvas.tissues[:] = Tissue.VISCERAL_FAT
        return canvas

    return make


def test_a_set_of_tissues():
    chosen = organs.tissue_set(Tissue.LIVER, Tissue.GAS)
    assert chosen.shape == (256,) and np.flatnonzero(chosen).tolist() == [Tissue.LIVER, Tissue.GAS]


def test_liver_on_the_right_with_veins_within_it(fat, physique):
    canvas = fat()
    abdomen = canvas.z < 100
    organs.paint_liver(canvas, physique, abdomen)
    own = (Tissue.LIVER, Tissue.PORTAL_VEIN, Tissue.HEPATIC_VEIN, Tissue.LESION)
    liver = np.isin(canvas.tissues, own)
    assert 700 < liver.sum() * ML < 2600 and canvas.x[liver].mean() > 25 and not (liver & ~abdomen).any()
    for vein in (Tissue.PORTAL_VEIN, Tissue.HEPATIC_VEIN):
        assert 0 < (canvas.tissues == vein).sum() < 0.1 * liver.sum()


def test_spleens_of_80_to_600_ml_on_the_left(fat, physique):
    volumes = []
    for seed in range(4):
        canvas = fat(seed)
        abdomen = canvas.z < 110
        organs.paint_spleen(canvas, physique, abdomen)
        spleen = canvas.tissues == Tissue.SPLEEN
        volumes.append(spleen.sum() * ML)
        assert canvas.x[spleen].max() < -40 and not (spleen & ~abdomen).any()
    assert 80 < min(volumes) < max(volumes) < 600 and max(volumes) > 1.1 * min(volumes)


def test_two_kidneys_with_medulla_inside_and_pelvis_towards_the_middle(fat, physique):
    canvas = fat()
    organs.paint_kidneys(canvas, physique)
    kidney = np.isin(canvas.tissues, (Tissue.KIDNEY_CORTEX, Tissue.KIDNEY_MEDULLA))
    for side in (1, -1):
        one = kidney & (side * canvas.x > 0)
        assert 70 < one.sum() * ML < 260 and 50 < side * canvas.x[one].mean() < 85
        pelvis = (canvas.tissues == Tissue.RENAL_PELVIS) & (side * canvas.x > 0)
        assert pelvis.any() and side * canvas.x[pelvis].mean() < side * canvas.x[one].mean()
    reach = [np.ptp(canvas.z[(canvas.tissues == tissue) & (canvas.x > 0)]) for tissue in (Tissue.KIDNEY_MEDULLA, Tissue.KIDNEY_CORTEX)]
    assert reach[0] < reach[1]


def test_the_pancreas_runs_from_the_right_to_the_higher_left(fat, physique):
    canvas = fat()
    organs.paint_pancreas(canvas, physique)
    pancreas = canvas.tissues == Tissue.PANCREAS
    x, z = canvas.x[pancreas], canvas.z[pancreas]
    assert 25 < pancreas.sum() * ML < 160 and x.max() > 15 and x.min() < -60
    assert np.corrcoef(x, z)[0, 1] < -0.4
    assert canvas.y[canvas.tissues == Tissue.PORTAL_VEIN].mean() < canvas.y[pancreas].mean()


def test_aorta_left_of_the_cava_before_the_spine_and_no_bone_painted_over(fat, physique):
    canvas = fat()
    canvas.tissues[:, :, :10] = Tissue.CORTICAL_BONE
    organs.paint_great_vessels(canvas, physique)
    assert (canvas.tissues[:, :, :10] == Tissue.CORTICAL_BONE).all()
    level = canvas.tissues[:, :, 38:44]
    aorta, cava = ((level == tissue) for tissue in (Tissue.AORTA, Tissue.CAVA))
    part = (slice(None), slice(None), slice(38, 44))
    assert canvas.x[part][aorta].mean() < canvas.x[part][cava].mean() - 15
    assert canvas.y[part][aorta].mean() > physique.vertebra_y
    # 8.5 to 12.5 mm, and narrower further down
    radius = np.sqrt(aorta.sum() * 125 / 30 / np.pi)
    assert 6.5 < radius < 14
