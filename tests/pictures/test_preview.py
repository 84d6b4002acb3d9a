"""What the pictures show: contours where the organs are, on the right side, and no crash on awkward scans."""

from __future__ import annotations

import numpy as np
import pytest
from picture_files import near, pixels

from bundle.drawing.drawing import COLOURS
from bundle.pictures.preview import preview
from bundle.quality.cases import CaseResult


def result(abdomen, codes: str = "RAS", **options) -> CaseResult:
    image, labels, affine = abdomen.stored(codes)
    return CaseResult("case", "case.nii.gz", image, labels, affine, abdomen.structures, **options)


def test_the_spleen_is_drawn_on_the_right_hand_side_and_the_legend_names_all(tmp_path, abdomen):
    picture = pixels(preview(result(abdomen), tmp_path / "p.png"))
    axial = picture[60:-60, : picture.shape[1] // 3]
    spleen, kidneys = near(axial, COLOURS[1], 40), near(axial, COLOURS[2], 40)
    assert len(spleen) > 40
    middle = axial.shape[1] / 2
    assert spleen[:, 1].min() > middle, "the patient's left is on the right"
    assert not len(kidneys), "the axial slice is through the pancreas, above both kidneys"
    coronal = picture[60:-60, picture.shape[1] // 3 : 2 * picture.shape[1] // 3]
    columns = near(coronal, COLOURS[2], 40)[:, 1]
    assert (columns < middle).sum() > 100 and (columns > middle).sum() > 100, "a kidney on each side"
    for index in range(3):
        assert len(near(picture[-45:], COLOURS[index], 10)) > 50, "legend"


def test_colours_go_by_names_and_are_those_that_the_user_gives(tmp_path, abdomen):
    own = {"pancreas": (0, 0, 255), "spleen": (255, 0, 0), "kidney": (255, 0, 255)}
    picture = pixels(preview(result(abdomen, colours=own), tmp_path / "p.png"))
    assert all(len(near(picture[-45:], shade, 10)) > 50 for shade in own.values()) and not len(near(picture[-45:], COLOURS[1], 10))
    turned = result(abdomen)
    turned.structures = dict(reversed(turned.structures.items()))
    assert np.array_equal(
        near(pixels(preview(turned, tmp_path / "t.png"))[60:-60], COLOURS[1], 40), near(expected(abdomen, tmp_path), COLOURS[1], 40)
    )


def expected(abdomen, tmp_path) -> np.ndarray:
    return pixels(preview(result(abdomen), tmp_path / "e.png"))[60:-60]


def test_every_axis_order_gives_the_same_picture_but_for_the_count_of_the_slice(tmp_path, abdomen):
    expected = pixels(preview(result(abdomen), tmp_path / "RAS.png"))
    for codes in ("LPS", "SPL"):
        found = pixels(preview(result(abdomen, codes), tmp_path / f"{codes}.png"))
        assert found.shape == expected.shape
        assert (found != expected).any(axis=2).mean() < 0.01


def test_a_scan_without_organs_is_shown_and_says_so(tmp_path, abdomen):
    abdomen.labels[:] = 0
    picture = pixels(preview(result(abdomen), tmp_path / "p.png"))
    assert not len(near(picture[60:-60, :], COLOURS[1], 20))
    assert picture[100:200].std() > 20, "the scan is there"


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 8, 7), (3, 40, 2), (64, 64, 3)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 7.0)])
def test_awkward_grids_give_a_picture(tmp_path, abdomen, shape, spacing):
    labels = np.zeros(shape, np.uint8)
    labels.flat[0] = 1
    case = CaseResult("c", "c", np.full(shape, np.nan, np.float32), labels, np.diag([*spacing, 1.0]), abdomen.structures)
    picture = pixels(preview(case, tmp_path / "p.png"))
    assert 1000 < picture.shape[1] < 1400 and picture.shape[0] < 800


def test_a_failed_case_has_no_preview(tmp_path):
    with pytest.raises(ValueError, match="no image"):
        preview(CaseResult("c", "c", error="is empty"), tmp_path / "p.png")
    assert not list(tmp_path.iterdir())
