import numpy as np
import pytest

from bundle.data.synthetic import gut
from bundle.data.synthetic.organs import ROOM
from bundle.data.synthetic.tissues import Tissue

ML = 0.125  # a voxel of 5 mm


@pytest.fixture
def canvas(still):
    canvas = still()
    canvas.tissues[:] = Tissue.VISCERAL_FAT
    return canvas


def paint(canvas, **more):
    """A straight tube of 40 mm radius along z, whose wall is 10 mm."""
    settings = {"wall": 10.0, "content": Tissue.WATERY_CONTENT, "gas": 0.0, "over": ROOM, "wall_tissue": Tissue.BOWEL_WALL}
    points = [(0.0, 0, -60, 40), (0, 0, 0, 40), (0, 0, 60, 40)]
    gut.paint_gut(canvas, points, **settings | {"abdomen": np.ones(canvas.shape, bool)} | more)


def test_a_tube_has_a_wall_around_its_content(canvas):
    paint(canvas)
    middle = (slice(None), slice(None), slice(32, 48))  # 80 mm of it
    wall, content = ((canvas.tissues[middle] == tissue).sum() * ML for tissue in (Tissue.BOWEL_WALL, Tissue.WATERY_CONTENT))
    assert content == pytest.approx(np.pi * 30**2 * 80 / 1000, rel=0.06)
    assert wall == pytest.approx(np.pi * (40**2 - 30**2) * 80 / 1000, rel=0.1)


def test_gas_takes_its_share_of_the_lumen_in_front_of_the_fluid(canvas):
    paint(canvas, gas=0.25)
    gas, fluid = (canvas.tissues == Tissue.GAS, canvas.tissues == Tissue.WATERY_CONTENT)
    assert gas.sum() / (gas.sum() + fluid.sum()) == pytest.approx(0.25, abs=0.06)
    assert canvas.y[gas].min() > canvas.y[fluid].max() - 5


def test_only_within_the_abdomen_and_over_what_may_be_painted_over(canvas):
    canvas.tissues[:, :10] = Tissue.LIVER
    paint(canvas, abdomen=canvas.z < 20)
    painted = canvas.tissues != Tissue.VISCERAL_FAT
    assert canvas.z[painted & (canvas.tissues != Tissue.LIVER)].max() < 20 and (canvas.tissues[:, :10] == Tissue.LIVER).all()


def test_a_walk_stays_in_its_room_by_steps_of_one_length():
    low, high = np.array([-92, 6, -165.0]), np.array([92, 74, 26.0])
    counts = set()
    for seed in range(30):
        path = gut.walk(np.random.default_rng(seed), low, high, steps=(4, 8), length=24.0, bend=0.75)
        counts.add(len(path))
        assert ((path >= low) & (path <= high)).all()
        np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), 24.0)
    assert counts == {4, 5, 6, 7}


@pytest.mark.parametrize(
    ("painter", "wall", "least"),
    [
        (gut.paint_stomach, Tissue.STOMACH_WALL, 60),
        (gut.paint_duodenum, Tissue.BOWEL_WALL, 20),
        (gut.paint_small_bowel, Tissue.BOWEL_WALL, 100),
        (gut.paint_colon, Tissue.BOWEL_WALL, 100),
    ],
)
def test_hollow_organs_are_painted_into_the_abdomen(canvas, physique, painter, wall, least):
    abdomen = canvas.z < 60
    painter(canvas, physique, abdomen)
    painted = canvas.tissues != Tissue.VISCERAL_FAT
    assert (canvas.tissues == wall).sum() * ML > least / 2 and painted.sum() * ML > least
    assert not (painted & ~abdomen & (canvas.tissues != Tissue.OESOPHAGUS)).any()


def test_vessels_of_the_mesentery_are_thin(canvas, physique):
    gut.paint_mesentery(canvas, physique)
    assert set(np.unique(canvas.tissues)) == {Tissue.VISCERAL_FAT, Tissue.PORTAL_VEIN, Tissue.AORTA}
    assert 0 < (canvas.tissues != Tissue.VISCERAL_FAT).sum() * ML < 60
