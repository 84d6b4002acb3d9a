"""A prediction against its reference: what is missed and added, by colour."""

from __future__ import annotations

import pytest
from picture_files import near, pixels

from bundle.pictures.comparison import ADDED, MISSED, comparison


def test_missed_voxels_are_red_and_added_ones_blue(tmp_path, abdomen):
    wrong = abdomen.labels.copy()
    wrong[wrong == 2] = 0
    wrong[28:33, 9:14, 13:20] = 2
    path = comparison(abdomen.image, wrong, abdomen.labels, abdomen.affine, abdomen.structures, tmp_path / "c.png")
    picture = pixels(path)
    axial = picture[picture.shape[0] // 2 : -60, : picture.shape[1] // 3]
    missed, added = near(axial, MISSED, 70), near(axial, ADDED, 70)
    assert len(missed) > 500 and len(added) > 500
    assert missed[:, 1].mean() > added[:, 1].mean(), "the true spleen lies on the patient's left"
    same = pixels(comparison(abdomen.image, abdomen.labels, abdomen.labels, abdomen.affine, abdomen.structures, tmp_path / "s.png"))
    assert not len(near(same[40:-60], MISSED, 20)) and not len(near(same[40:-60], ADDED, 20))


def test_comparison_near_a_structure_and_its_errors(tmp_path, abdomen):
    arguments = (abdomen.image, abdomen.labels, abdomen.labels, abdomen.affine, abdomen.structures, tmp_path / "c.png")
    comparison(*arguments, focus="pancreas")
    with pytest.raises(ValueError, match="'liver' is none of the structures"):
        comparison(*arguments, focus="liver")
    with pytest.raises(ValueError, match="shapes differ"):
        comparison(abdomen.image, abdomen.labels[1:], *arguments[2:])
