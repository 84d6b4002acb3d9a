"""Which grids are a scan, and values as int16 or float32: by hand, chunk by chunk."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.errors import UserError
from bundle.images import voxels
from bundle.images.voxels import AIR, array_as_scan, as_scan, budget, check_affine, check_grid, check_size


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((2, 2, 2), {}, None),
        ((9, 8, 7, 1, 1), {"dtype": np.dtype("<f4")}, None),
        ((9, 8, 7), {"components": 3}, "several values per voxel"),
        ((9, 8, 7), {"dtype": np.dtype([("R", "u1")])}, "several values per voxel"),
        ((9, 8, 7), {"dtype": np.dtype(np.complex64)}, "complex numbers"),
        ((9, 8, 7), {"dtype": np.dtype("U1")}, "is not a number"),
        ((1, 8, 7, 6), {}, "its first axis is a channel (1x8x7x6)"),
        ((9, 8, 7, 2, 3), {}, "a series of 6 volumes (9x8x7x2x3)"),
        ((9, 8), {}, "a two-dimensional image (9x8)"),
        ((9, 8, 1), {}, "a two-dimensional image (9x8x1)"),
        ((0, 8, 7), {}, "a two-dimensional image"),
        ((1, 8, 7), {}, "one voxel thin (1x8x7)"),
    ],
)
def test_what_is_no_scan_is_said(shape: tuple[int, ...], options: dict, said: str | None) -> None:
    if said is None:
        check_grid("a", shape, **options)
        return
    with pytest.raises(UserError) as caught:
        check_grid("a", shape, **options)
    assert said in str(caught.value)


def test_the_smaller_budget_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "memory_limit", lambda: 8e9)
    assert budget(1.5) == (1.5e9, "memory_gb, 1.5")
    assert budget(None) == budget(100) == (4e9, "half of the 8 GB that this process may use")
    check_size("a", (1000, 1000, 1000), 4)
    # 1000 x 1000 x 1001 x 4 bytes
    with pytest.raises(UserError, match=r"a: its header claims 1000x1000x1001 voxels, 4 GB, more than half of the 8 GB"):
        check_size("a", (1000, 1000, 1001), 4)
    with pytest.raises(UserError, match=r"more than memory_gb, 0\.5"):
        check_size("a", (1000, 1000, 1000), 2, 0.5)


def test_an_affine_without_a_size_is_refused() -> None:
    check_affine("a", np.diag([2.0, 2, 2, 1]))
    for wrong in (np.diag([2.0, 0, 2, 1]), np.full((4, 4), np.nan)):
        with pytest.raises(UserError, match="a: the affine in its header is singular"):
            check_affine("a", wrong)


def test_chunks_become_int16_where_that_loses_nothing() -> None:
    found, replaced = as_scan([np.array([1, -1000], np.int64), np.array([7], np.uint8)], 3, "a")
    assert replaced == 0 and found.dtype == np.int16 and found.tolist() == [1, -1000, 7]
    # a value that int16 has not, in a later chunk: what came before stays
    found, _ = as_scan([np.array([1, 2], np.int16), np.array([40000], np.uint16)], 3, "a")
    assert found.dtype == np.float32 and found.tolist() == [1, 2, 40000]
    found, replaced = as_scan([np.array([1.5, np.nan]), np.array([np.inf, -3.0]), np.array([1e300])], 5, "a")
    assert replaced == 3 and found.dtype == np.float32 and found.tolist() == [1.5, AIR, AIR, -3, AIR]
    with pytest.raises(UserError, match="a: no voxel holds a number"):
        as_scan([np.array([np.nan, np.inf])], 2, "a")


def test_an_array_keeps_its_order_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "CHUNK", 5)
    plain = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert array_as_scan(plain, "a")[0] is plain
    for order in "CF":
        for dtype, wanted in ((">i2", np.int16), ("<i4", np.int16), (">f4", np.float32), ("f8", np.float32)):
            found, replaced = array_as_scan(np.asarray(plain, dtype, order=order), "a")
            assert replaced == 0
            assert found.dtype == wanted and found.dtype.isnative and np.array_equal(found, plain)
            assert found.flags.f_contiguous == (order == "F") and found.flags.c_contiguous == (order == "C")
