"""The strip of slices: which ones, which way up, contours where the labels are, and no crash on awkward scans."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bundle.pictures import slices as slices_module
from bundle.pictures.slices import MOST_BYTES, MOST_TILES, TILE, slices
from bundle.quality.cases import CaseResult

AMBER, BLUE, GREEN = (255, 176, 32), (88, 196, 255), (110, 230, 110)


def tiles(path) -> np.ndarray:
    """(tiles, height, width, 3) of a strip."""
    with Image.open(path) as picture:
        assert picture.format == "JPEG" and picture.width == TILE[0] and picture.height % TILE[1] == 0
        return np.asarray(picture.convert("RGB")).astype(int).reshape(-1, TILE[1], TILE[0], 3)


def of(tile: np.ndarray, shade) -> np.ndarray:
    """(n, 2) rows and columns of pixels of about this colour, without the letters at the rim."""
    return np.argwhere(np.abs(tile - np.array(shade)).max(axis=-1) <= 45)


def result(abdomen, codes: str = "RAS") -> CaseResult:
    image, labels, affine = abdomen.stored(codes)
    return CaseResult("case", "case.nii.gz", image, labels, affine, abdomen.structures)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL", "AIR"])
def test_from_above_the_highest_structure_to_below_the_lowest_the_head_first(tmp_path, abdomen, codes):
    """Kidneys are in slices 6 to 11, the spleen in 13 to 19, and 20 mm are 2 slices of 8 mm: 21 down to 4."""
    strip = tiles(slices(result(abdomen, codes), tmp_path / "s.jpg"))
    assert len(strip) == 18
    with_spleen = [21 - number for number, tile in enumerate(strip) if len(of(tile, BLUE)) > 60]
    with_kidney = [21 - number for number, tile in enumerate(strip) if len(of(tile, GREEN)) > 60]
    assert with_spleen == list(range(19, 12, -1)) and with_kidney == list(range(11, 5, -1))


def test_the_spleen_is_on_the_right_and_its_contour_where_it_is(tmp_path, abdomen):
    strip = tiles(slices(result(abdomen), tmp_path / "s.jpg"))
    found = of(strip[21 - 16], BLUE)
    # the picture: the body (x 3 to 36, y 4 to 27, voxels of 5 mm) and 10 mm around it, 190 x 140 mm in 384 x 283 pixels
    scale, top = 384 / 190, (288 - 283) // 2
    # the patient's left is on the right and the front is at the top, so both count down: the spleen's x is 6 to 11, its y 9 to 14
    columns = (39 - np.array([11, 6])) * 5 * scale
    rows = top + (30 - np.array([14, 9])) * 5 * scale
    assert found[:, 1].min() == pytest.approx(columns[0], abs=4) and found[:, 1].max() == pytest.approx(columns[1], abs=4)
    assert found[:, 0].min() == pytest.approx(rows[0], abs=4) and found[:, 0].max() == pytest.approx(rows[1], abs=4)
    middle = strip[21 - 16][int(rows.mean()), int(columns.mean())]
    assert np.ptp(middle) < 30, "nothing is filled"


def test_many_slices_are_shared_out_and_colours_are_those_of_the_user(tmp_path):
    image, labels = np.zeros((40, 40, 400), np.int16), np.zeros((40, 40, 400), np.uint8)
    labels[10:30, 10:30, 50:350] = 1
    case = CaseResult("c", "c", image, labels, np.diag([5.0, 5.0, 1.0, 1.0]), {"lump": 1}, colours={"lump": (255, 0, 0)})
    strip = tiles(slices(case, tmp_path / "s.jpg"))
    assert len(strip) == MOST_TILES
    # 20 mm beyond it at both ends: slices 369 to 30 in 23 steps of 14.7
    assert [len(of(tile, (255, 0, 0))) > 100 for tile in strip] == [False] * 2 + [True] * 20 + [False] * 2


def test_without_structures_the_whole_scan(tmp_path, abdomen):
    abdomen.labels[:] = 0
    assert len(tiles(slices(result(abdomen), tmp_path / "s.jpg"))) == 24


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 8, 7), (3, 40, 2), (64, 64, 3)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 7.0)])
def test_awkward_grids_give_a_strip(tmp_path, abdomen, shape, spacing):
    labels = np.zeros(shape, np.uint8)
    labels.flat[0] = 1
    case = CaseResult("c", "c", np.full(shape, np.nan, np.float32), labels, np.diag([*spacing, 1.0]), abdomen.structures)
    assert 1 <= len(tiles(slices(case, tmp_path / "s.jpg"))) <= shape[2]


def test_noise_is_coarser_and_not_larger(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 150, (96, 72, 30)).astype(np.float32)
    case = CaseResult("c", "c", image, np.zeros(image.shape, np.uint8), np.diag([4.0, 4.0, 5.0, 1.0]), {"spleen": 1})
    assert slices(case, tmp_path / "s.jpg").stat().st_size <= MOST_BYTES
    monkeypatch.setattr(slices_module, "MOST_BYTES", 10_000_000)
    assert slices(case, tmp_path / "t.jpg").stat().st_size > 2 * (tmp_path / "s.jpg").stat().st_size


def test_the_same_case_gives_the_same_bytes_and_a_failed_one_none(tmp_path, abdomen):
    first = slices(result(abdomen), tmp_path / "s.jpg").read_bytes()
    assert slices(result(abdomen), tmp_path / "t.jpg").read_bytes() == first
    with pytest.raises(ValueError, match="no image"):
        slices(CaseResult("c", "c", error="is empty"), tmp_path / "f.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.jpg", "t.jpg"]
