from dataclasses import replace

import numpy as np
import pytest

from bundle.data.synthetic import trunk
from bundle.data.synthetic.tissues import Tissue


@pytest.fixture
def canvas(still):
    return still()


def test_layers_of_the_wall_from_outside_to_inside(canvas, physique):
    cavity = trunk.paint_trunk(canvas, physique)
    np.testing.assert_array_equal(cavity, canvas.tissues == Tissue.VISCERAL_FAT)
    # at the flank: 10 mm of fat, 1.3 * 10 mm of muscle before and behind a seam of fat
    row = [Tissue(t) for t in canvas.tissues[:, 24, 40]]
    order = [Tissue.AIR, Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.VISCERAL_FAT]
    first = [row.index(tissue) for tissue in order if tissue in row]
    assert first == sorted(first) and {Tissue.AIR, Tissue.FAT, Tissue.MUSCLE} < set(row)
    inside = np.flatnonzero(cavity[:, 24, 40])
    assert abs(canvas.x[inside[0], 24, 40] + 127) < 7 and abs(canvas.x[inside[-1], 24, 40] - 127) < 7


def test_lungs_above_the_diaphragm_and_the_heart_on_the_left(canvas, physique):
    cavity = trunk.paint_trunk(canvas, physique)
    abdomen = trunk.paint_lungs_and_heart(canvas, physique, cavity, np.float32(50))
    assert not (abdomen & ~cavity).any() and canvas.z[abdomen].max() < 58 and canvas.z[cavity & ~abdomen].min() > 42
    lung, heart = canvas.tissues == Tissue.LUNG, canvas.tissues == Tissue.HEART
    assert lung.sum() * 0.125 > 500 and canvas.z[lung].min() > 46
    assert heart.any() and canvas.x[heart].mean() < -10 and not (heart & ~cavity).any()


def test_without_a_dome_the_right_one_is_higher(canvas, physique):
    cavity = trunk.paint_trunk(canvas, physique)
    abdomen = trunk.paint_lungs_and_heart(canvas, physique, cavity)
    right, left = (canvas.z[abdomen & (np.abs(canvas.x - side) < 15)].max() for side in (60, -60))
    assert right > left > 50


def test_vertebrae_with_discs_between_and_the_canal_behind(canvas, physique):
    canvas.tissues[:] = Tissue.MUSCLE
    trunk.paint_spine(canvas, physique)
    where = {t: canvas.tissues == t for t in (Tissue.DISC, Tissue.SPONGY_BONE, Tissue.CORTICAL_BONE, Tissue.SPINAL_CANAL)}
    assert canvas.y[where[Tissue.SPINAL_CANAL]].mean() < canvas.y[where[Tissue.DISC]].mean() - 15
    column = where[Tissue.DISC].any(axis=(0, 1))
    discs = np.flatnonzero(np.diff(column.astype(int)) == 1)
    assert np.diff(canvas.z[0, 0, discs]).mean() == pytest.approx(34, abs=2.5)
    assert (np.abs(canvas.x[where[Tissue.DISC]]) < 40).all()


def test_the_spine_is_not_painted_into_air(canvas, physique):
    trunk.paint_spine(canvas, physique)
    assert not canvas.tissues.any()


def test_ribs_lie_in_the_wall_on_both_sides(canvas, physique):
    trunk.paint_trunk(canvas, physique)
    wall = np.isin(canvas.tissues, (Tissue.MUSCLE, Tissue.FAT))
    trunk.paint_ribs(canvas, physique)
    bone = canvas.tissues == Tissue.CORTICAL_BONE
    right, left = (bone & (side * canvas.x > 0) for side in (1, -1))
    assert right.sum() == pytest.approx(left.sum(), rel=0.1) and right.sum() > 300
    assert wall[bone].mean() > 0.6 and (canvas.tissues == Tissue.CARTILAGE).any()
    assert canvas.y[canvas.tissues == Tissue.CARTILAGE].mean() > canvas.y[bone].mean()


def test_the_pelvis_begins_below_the_organs(canvas, physique):
    canvas.tissues[:] = Tissue.MUSCLE
    trunk.paint_pelvis(canvas, physique)
    bone = np.isin(canvas.tissues, (Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE))
    assert bone.sum() > 500 and -80 < canvas.z[bone].max() < -70 and (bone & (canvas.x > 0)).any() and (bone & (canvas.x < 0)).any()


def test_muscles_of_the_back_lie_beside_the_spine(canvas, physique):
    canvas.tissues[:] = Tissue.VISCERAL_FAT
    trunk.paint_back(canvas, physique)
    muscle = canvas.tissues == Tissue.MUSCLE
    assert set(np.unique(canvas.tissues)) == {Tissue.VISCERAL_FAT, Tissue.MUSCLE}
    assert canvas.y[muscle].mean() < physique.vertebra_y and abs(canvas.x[muscle].mean()) < 3


def test_arms_hang_beside_the_trunk(canvas, physique):
    narrow = replace(physique, half_width=100.0)
    trunk.paint_arms(canvas, narrow)
    arms = canvas.tissues != Tissue.AIR
    assert 0.9 * 100 < np.abs(canvas.x[arms]).min() < 0.9 * 100 + 30
    for side in (-1, 1):  # from the one end to the other, with skin outside and fat below it
        one = arms & (side * canvas.x > 0)
        assert one.any(axis=(0, 1)).all() and {Tissue.SKIN, Tissue.FAT} <= set(np.unique(canvas.tissues[one]).tolist())
