import json

import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.people import DIRECTIONS, load_person, paint_person, read_person, save_person, to_tissues
from bundle.data.synthetic.tissues import LABEL_OF, Tissue
from bundle.errors import UserError


def test_names_become_tissues(structure_names):
    tissues = to_tissues(np.array([[[0, 1, 3, 7, 11]]]), structure_names)
    assert tissues.tolist() == [[[Tissue.AIR, Tissue.LIVER, Tissue.PANCREAS, Tissue.SPINAL_CANAL, Tissue.AIR]]]


def test_centre_and_outline_by_hand(person):
    # 60 mm in front of the middle of the spinal canal, at the height of the left kidney's middle (16.5, whole voxels)
    assert np.allclose(person.centre, (50.5 * 3, 14.5 * 3 + 60, 16 * 3))
    assert person.outline.shape == (45, DIRECTIONS)
    # towards the right the liver ends at voxel 84: 100.5 mm from the centre
    assert abs(person.outline[30, 0] - (84 - 50.5) * 3) < 8
    assert person.extent == (-48.0, 84.0)


def test_organs_lie_where_the_map_has_them(person, around):
    canvas = around(person)
    paint_person(canvas, person)
    # the same voxels, as nothing is bent: 15 voxels of margin on each side
    inner = canvas.tissues[15:-15, 15:-15]
    for tissue in (Tissue.LIVER, Tissue.PANCREAS, Tissue.SPLEEN, Tissue.AORTA):
        assert ((inner == tissue) == (person.tissues == tissue)).all(), tissue
    assert (LABEL_OF[inner] == 3).sum() == 2 * 10 * 12 * 14


def test_fat_lies_outside_of_muscle_and_skin_outside_of_both(person, around):
    canvas = around(person)
    paint_person(canvas, person)
    row = canvas.tissues[:, canvas.shape[1] // 2, 30]
    assert row[0] == Tissue.AIR
    order = [t for t in row if t in (Tissue.FAT, Tissue.MUSCLE)]
    assert order[0] == Tissue.FAT and order.index(Tissue.MUSCLE) > 0
    skin = np.argwhere(canvas.tissues == Tissue.SKIN) - np.array(canvas.shape) / 2
    fat = np.argwhere(canvas.tissues == Tissue.FAT) - np.array(canvas.shape) / 2
    assert np.hypot(*skin.T[:2]).mean() > np.hypot(*fat.T[:2]).mean()


def test_saved_person_is_the_same(person, tmp_path):
    save_person(person, tmp_path / "one.npz")
    again = load_person(tmp_path / "one.npz")
    assert np.array_equal(again.tissues, person.tissues) and np.array_equal(again.outline, person.outline)
    assert again.extent == person.extent and [p.name for p in tmp_path.iterdir()] == ["one.npz"]


def test_a_map_without_a_pancreas_is_refused(map_path, structure_names, tmp_path):
    image = nib.load(map_path)
    structures = np.asarray(image.dataobj).copy()
    structures[structures == structure_names["pancreas"]] = 0
    nib.save(nib.Nifti1Image(structures, image.affine), tmp_path / "structures.nii.gz")
    (tmp_path / "structures.json").write_text(json.dumps(structure_names))
    with pytest.raises(UserError, match="no pancreas"):
        read_person(tmp_path / "structures.nii.gz")
