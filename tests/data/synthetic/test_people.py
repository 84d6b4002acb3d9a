import json

import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.canvas import Canvas
from bundle.data.synthetic.people import DIRECTIONS, load_person, paint_person, read_person, save_person, to_tissues
from bundle.data.synthetic.recipes import from_person
from bundle.data.synthetic.tissues import LABEL_OF, Tissue
from bundle.data.synthetic.viscera import paint_bowel, shape_pancreas
from bundle.errors import UserError

NAMES = {
    "liver": 1,
    "spleen": 2,
    "pancreas": 3,
    "kidney_left": 4,
    "kidney_right": 5,
    "aorta": 6,
    "spinal_cord": 7,
    "small_bowel": 8,
    "portal_vein_and_splenic_vein": 9,
    "vertebrae_L2": 10,
    "made_up": 11,
}
# structure: corner and size in voxels of 3 mm
BOXES = {
    "liver": ((60, 20, 20), (25, 45, 20)),
    "spleen": ((15, 20, 25), (14, 20, 14)),
    "pancreas": ((35, 45, 20), (24, 8, 6)),
    "kidney_left": ((20, 22, 10), (10, 12, 14)),
    "kidney_right": ((70, 22, 5), (10, 12, 14)),
    "aorta": ((52, 32, 0), (6, 6, 45)),
    "spinal_cord": ((48, 12, 0), (6, 6, 45)),
    "small_bowel": ((25, 45, 2), (45, 20, 14)),
    "portal_vein_and_splenic_vein": ((40, 42, 22), (20, 3, 3)),
    "vertebrae_L2": ((44, 18, 8), (14, 10, 12)),
}


@pytest.fixture(scope="module")
def map_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "s1"
    folder.mkdir()
    structures = np.zeros((100, 80, 45), np.uint8)
    for name, (corner, size) in BOXES.items():
        structures[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = NAMES[name]
    nib.save(nib.Nifti1Image(structures, np.diag([3.0, 3, 3, 1])), folder / "structures.nii.gz")
    (folder / "structures.json").write_text(json.dumps(NAMES))
    return folder / "structures.nii.gz"


@pytest.fixture(scope="module")
def person(map_path):
    return read_person(map_path)


def still_canvas(person, seed=0):
    shape = tuple(int(n) for n in np.array(person.tissues.shape) + np.array([30, 30, 0]))
    origin = -person.centre - np.array([45.0, 45, 0])
    rng = np.random.default_rng(seed)
    return Canvas(shape, tuple(person.spacing), origin=origin, rotation=np.eye(3), displacement_mm=0.0, rng=rng)


def test_names_become_tissues():
    tissues = to_tissues(np.array([[[0, 1, 3, 7, 11]]]), NAMES)
    assert tissues.tolist() == [[[Tissue.AIR, Tissue.LIVER, Tissue.PANCREAS, Tissue.SPINAL_CANAL, Tissue.AIR]]]


def test_centre_and_outline_by_hand(person):
    # 60 mm in front of the middle of the spinal canal, at the height of the left kidney's middle (16.5, whole voxels)
    assert np.allclose(person.centre, (50.5 * 3, 14.5 * 3 + 60, 16 * 3))
    assert person.outline.shape == (45, DIRECTIONS)
    # towards the right the liver ends at voxel 84: 100.5 mm from the centre
    assert abs(person.outline[30, 0] - (84 - 50.5) * 3) < 8
    assert person.extent == (-48.0, 84.0)


def test_organs_lie_where_the_map_has_them(person):
    canvas = still_canvas(person)
    paint_person(canvas, person)
    # the same voxels, as nothing is bent: 15 voxels of margin on each side
    inner = canvas.tissues[15:-15, 15:-15]
    for tissue in (Tissue.LIVER, Tissue.PANCREAS, Tissue.SPLEEN, Tissue.AORTA):
        assert ((inner == tissue) == (person.tissues == tissue)).all(), tissue
    assert (LABEL_OF[inner] == 3).sum() == 2 * 10 * 12 * 14


def test_fat_lies_outside_of_muscle_and_skin_outside_of_both(person):
    canvas = still_canvas(person)
    paint_person(canvas, person)
    row = canvas.tissues[:, canvas.shape[1] // 2, 30]
    assert row[0] == Tissue.AIR
    order = [t for t in row if t in (Tissue.FAT, Tissue.MUSCLE)]
    assert order[0] == Tissue.FAT and order.index(Tissue.MUSCLE) > 0
    skin = np.argwhere(canvas.tissues == Tissue.SKIN) - np.array(canvas.shape) / 2
    fat = np.argwhere(canvas.tissues == Tissue.FAT) - np.array(canvas.shape) / 2
    assert np.hypot(*skin.T[:2]).mean() > np.hypot(*fat.T[:2]).mean()


def test_bowel_has_walls_and_contents(person):
    canvas = still_canvas(person)
    paint_person(canvas, person)
    bowel = canvas.tissues == Tissue.BOWEL_WALL
    paint_bowel(canvas)
    kinds = set(np.unique(canvas.tissues[bowel])) - {Tissue.BOWEL_WALL}
    known = {Tissue.WATERY_CONTENT, Tissue.SOFT_CONTENT, Tissue.ORAL_CONTRAST, Tissue.DILUTE_CONTRAST, Tissue.GAS}
    assert kinds and kinds <= known
    surface = bowel & ~np.roll(bowel, 1, 2)
    assert (canvas.tissues[surface] == Tissue.BOWEL_WALL).all(), "the outermost voxels are wall"


def test_pancreas_becomes_thinner_or_bulkier_and_only_there(person):
    volumes = []
    for seed in range(6):
        canvas = still_canvas(person, seed)
        paint_person(canvas, person)
        liver = canvas.tissues == Tissue.LIVER
        shape_pancreas(canvas, person, None)
        volumes.append(int((canvas.tissues == Tissue.PANCREAS).sum()))
        assert (liver <= (canvas.tissues == Tissue.LIVER)).all()
    whole = 24 * 8 * 6
    assert min(volumes) < whole and max(volumes) > 0.9 * whole and min(volumes) > 0.2 * whole


def test_same_seed_same_scan(person):
    first, second = (from_person(person, np.random.default_rng(4), (4.0, 4.0, 4.0)) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert set(np.unique(first[1])) == {0, 1, 2, 3}


def test_saved_person_is_the_same(person, tmp_path):
    save_person(person, tmp_path / "one.npz")
    again = load_person(tmp_path / "one.npz")
    assert np.array_equal(again.tissues, person.tissues) and np.array_equal(again.outline, person.outline)
    assert again.extent == person.extent and [p.name for p in tmp_path.iterdir()] == ["one.npz"]


def test_a_map_without_a_pancreas_is_refused(map_path, tmp_path):
    image = nib.load(map_path)
    structures = np.asarray(image.dataobj).copy()
    structures[structures == NAMES["pancreas"]] = 0
    nib.save(nib.Nifti1Image(structures, image.affine), tmp_path / "structures.nii.gz")
    (tmp_path / "structures.json").write_text(json.dumps(NAMES))
    with pytest.raises(UserError, match="no pancreas"):
        read_person(tmp_path / "structures.nii.gz")
