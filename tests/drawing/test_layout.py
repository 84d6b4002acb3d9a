"""Pictures side by side at one scale, and strips on a sheet."""

from __future__ import annotations

import numpy as np

from bundle.drawing.drawing import BACKGROUND
from bundle.drawing.layout import EDGE, GAP, MAX_PIXELS_PER_MM, WIDTH, row, sheet
from bundle.drawing.planes import Window


def window(rows: int, columns: int, pixel_mm: tuple[float, float] = (1.0, 1.0)) -> Window:
    return Window("axial", 0, (0, rows), (0, columns), pixel_mm, "axial, slice 1 of 1")


def test_pictures_share_the_scale_that_lets_all_fit():
    sizes = []

    def draw(shown: Window, size: tuple[int, int]) -> np.ndarray:
        sizes.append(size)
        return np.full((size[1], size[0], 3), 200, np.uint8)

    # 300 and 150 mm wide, in 508 - 8 pixels beside each other: 500 / 450 pixels a mm; 90 mm high
    strip = row([window(90, 300), window(30, 75, (2.0, 2.0))], draw, width=508, max_height=400)
    assert sizes == [(333, 100), (166, 66)]
    assert strip.size == (508, 100 + 24)
    # the lower one is in the middle of the height
    grey = (np.asarray(strip)[:100] == 200).all(axis=2)
    assert np.flatnonzero(grey[:, 500]).tolist()[0] == (100 - 66) // 2 and not grey[:, 333 + 1 : 333 + GAP - 1].any()


def test_height_and_tiny_scans_bound_the_scale():
    seen = []

    def draw(shown: Window, size: tuple[int, int]) -> np.ndarray:
        seen.append(size)
        return np.zeros((size[1], size[0], 3), np.uint8)

    row([window(100, 100)], draw, width=1000, max_height=50, captions=False)
    row([window(5, 5)], draw, width=1000, max_height=1000, captions=False)
    assert seen == [(50, 50), (int(5 * MAX_PIXELS_PER_MM),) * 2]


def test_letters_and_a_scale_bar_of_50_mm():
    strip = np.asarray(row([window(200, 300)], lambda _, size: np.zeros((size[1], size[0], 3), np.uint8), width=300, captions=False))
    line = (strip[200 - 8] == (236, 238, 242)).all(axis=1)
    assert line.sum() == 51 and line[8:59].all()
    # R at the left, L at the right, A above, P below, as a radiologist expects them
    bright = strip.max(axis=2) > 128
    assert bright[80:120, :20].any() and bright[80:120, -20:].any() and bright[:20, 130:170].any() and bright[-20:, 130:170].any()


def test_a_sheet_has_room_for_its_title_its_reasons_and_its_strips():
    from PIL import Image

    strips = [Image.new("RGB", (100, 40), (255, 0, 0)), Image.new("RGB", (100, 30), (0, 255, 0))]
    plain, told = sheet(strips, title="case"), sheet(strips, title="case", subtitle=("to be looked at", (255, 196, 64)))
    assert plain.size == (WIDTH + 2 * EDGE, 34 + EDGE + 40 + 30 + 2 * GAP)
    assert told.height == plain.height + 20 + 4
    assert plain.getpixel((EDGE, 34 + 6)) == (255, 0, 0) and plain.getpixel((EDGE, 34 + 6 + 40 + GAP)) == (0, 255, 0)
    assert plain.getpixel((WIDTH, 60)) == BACKGROUND
