"""What the pictures show: contours where the organs are, on the right side, and no crash on awkward scans."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bundle.drawing.drawing import COLOURS, cover, fit, font, grey_window, outline, wrap
from bundle.pictures.attention_preview import attention_preview
from bundle.pictures.comparison import ADDED, MISSED, comparison
from bundle.pictures.preview import preview
from bundle.quality.cases import CaseResult


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def near(picture: np.ndarray, shade, tolerance: int = 60) -> np.ndarray:
    """(n, 2) rows and columns of pixels of about this colour."""
    return np.argwhere(np.abs(picture - np.array(shade)).max(axis=2) <= tolerance)


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


def test_a_contour_lies_on_the_border_of_its_mask():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    picture = np.zeros((160, 160, 3), np.uint8)
    outline(picture, cover(mask, (160, 160)), (255, 0, 0))
    red = np.argwhere(picture[..., 0] > 128)
    distance = np.minimum.reduce([np.abs(red[:, axis] + 0.5 - border) for axis in (0, 1) for border in (40, 120)])
    assert len(red) > 4 * 70 and distance.max() <= 2.5
    assert picture[80, 80, 0] == 0, "nothing is filled"


def test_a_single_voxel_does_not_vanish_when_the_picture_is_smaller():
    mask = np.zeros((400, 400), bool)
    mask[200, 200] = True
    picture = np.zeros((100, 100, 3), np.uint8)
    outline(picture, cover(mask, (100, 100)), (255, 0, 0))
    assert picture[..., 0].max() > 128


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


def test_high_coefficients_are_bright(tmp_path, abdomen):
    alpha = np.where(abdomen.labels == 2, 0.9, 0.1).astype(np.float32)
    scan_only = pixels(attention_preview(abdomen.image, {}, tmp_path / "0.png", affine=abdomen.affine))
    path = attention_preview(
        abdomen.image, {"level 2": alpha}, tmp_path / "1.png", affine=abdomen.affine, labels=abdomen.labels, structures=abdomen.structures
    )
    picture = pixels(path)
    assert picture.shape[0] > scan_only.shape[0] + 100
    # inferno's top, 60 % over grey: bright yellow, which no grey pixel is
    yellow = (picture[..., 0] > 170) & (picture[..., 1] > 170) & (picture[..., 2] < picture[..., 0] - 40)
    assert yellow[: picture.shape[0] // 2 - 40].sum() < yellow[picture.shape[0] // 2 - 40 :].sum()
    in_bytes = {"level 2": np.rint(alpha * 255).astype(np.uint8)}
    again = {"affine": abdomen.affine, "labels": abdomen.labels, "structures": abdomen.structures}
    difference = np.abs(pixels(attention_preview(abdomen.image, in_bytes, tmp_path / "3.png", **again)) - picture)
    assert (difference > 4).mean() < 0.001, "bytes stand for 1/255"
    with pytest.raises(ValueError, match="level 2 has the shape"):
        attention_preview(abdomen.image, {"level 2": alpha[1:]}, tmp_path / "2.png")


def test_normalised_images_get_their_own_window():
    rng = np.random.default_rng(0)
    assert grey_window(rng.normal(size=(20, 20, 20)))[0] == pytest.approx(-2.3, abs=0.3)
    assert grey_window(rng.normal(-500, 300, size=(20, 20, 20))) == (-160.0, 240.0)
    assert grey_window(np.full((3, 3, 3), np.nan)) == (-160.0, 240.0)


def test_long_reasons_are_broken_between_words_and_shortened_at_last():
    text = "pancreas: not found; spleen: reaches the border of the scan, may be cut off"
    lines = wrap(text, 220, 14, 4)
    assert " ".join(lines) == text and len(lines) == 3
    assert all(font(14).getlength(line) <= 220 for line in lines)
    assert wrap(text, 220, 14, 2)[1].endswith("…") and len(wrap(text, 220, 14, 2)) == 2
    assert wrap("short", 220, 14, 3) == ["short"] and wrap("", 220, 14, 3) == []
    assert fit("x" * 100, 50, 14).endswith("x…")
