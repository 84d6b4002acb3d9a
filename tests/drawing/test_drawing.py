"""Contours where the masks are, greys as the window says, text that fits."""

from __future__ import annotations

import numpy as np
import pytest
from picture_files import pixels
from PIL import Image

from bundle.drawing.drawing import BACKGROUND, blend, cover, fit, font, grey, grey_window, legend, outline, resize, save, stack, wrap


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


def test_greys_span_the_window_and_what_is_no_number_is_black():
    values = np.array([[-160.0, 40.0], [240.0, 1000.0], [-1000.0, np.nan]])
    shown = grey(values, (2, 3))
    assert shown.shape == (3, 2, 3) and shown[..., 0].tolist() == [[0, 127], [255, 255], [0, 0]]
    assert grey(np.array([[0.5]]), (1, 1), (0.0, 2.0)).tolist() == [[[63, 63, 63]]]


def test_resizing_the_whole_or_a_part_of_it():
    values = np.array([[0.0, 4.0], [8.0, 12.0]])
    assert resize(values, (1, 1)).tolist() == [[6.0]]
    assert resize(values, (1, 1), (0, 1, 2, 2)).tolist() == [[10.0]]


def test_a_colour_is_laid_over_by_its_opacity():
    picture = np.full((1, 3, 3), 100, np.uint8)
    blend(picture, np.array([[0.0, 0.5, 1.0]]), (200, 0, 100))
    assert picture[0].tolist() == [[100, 100, 100], [150, 50, 100], [200, 0, 100]]


def test_a_legend_takes_as_many_lines_as_it_needs():
    entries = [((255, 0, 0), "pancreas"), (None, "none")]
    one, two = legend(entries, 1000), legend(entries, 150)
    assert one.size == (1000, 26) and two.size == (150, 52)
    assert np.asarray(one)[13, 10].tolist() == [255, 0, 0] and legend([], 100).height == 0


def test_pictures_below_each_other_and_written_whole(tmp_path):
    whole = stack([Image.new("RGB", (4, 2), (255, 0, 0)), Image.new("RGB", (2, 3), (0, 255, 0))])
    assert whole.size == (4, 5) and whole.getpixel((1, 3)) == (0, 255, 0) and whole.getpixel((3, 3)) == BACKGROUND
    assert np.array_equal(pixels(save(whole, tmp_path / "new" / "w.png")), np.asarray(whole).astype(int))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.png"]
