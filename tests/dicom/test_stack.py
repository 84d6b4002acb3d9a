"""Planes in their order on an even grid, or the reason why they are no volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import AFFINE, AXIAL, CORONAL, VALUES, check, enhanced, refused, series

EVERY = list(range(6))


def test_a_slice_without_rescale_among_others_is_refused_by_name(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        if k in (2, 4):
            del ds.RescaleSlope, ds.RescaleIntercept

    assert "IM7.dcm has no RescaleSlope and RescaleIntercept, like 1 more" in refused(series(tmp_path, change), str(tmp_path))


def test_a_tilted_gantry_shears_the_grid(tmp_path: Path) -> None:
    files = series(tmp_path, lambda ds, k: setattr(ds, "ImagePositionPatient", [-10, -20 + 0.5 * k, 30 + 3 * k]))
    tilted = AFFINE.copy()
    tilted[:3, 2] = [0, -0.5, 3]
    check(files, VALUES, tilted)


def test_slices_against_the_normal_and_rounded_directions(tmp_path: Path) -> None:
    noise = ([1, 0, 0, 0, 1, 0], ["0.999999", "0.000001", "0", "0", "1", "-0.000001"], ["1.0", "0.0", "0.0", "0.0", "1.0", "0.0"])
    check(series(tmp_path / "noise", lambda ds, k: setattr(ds, "ImageOrientationPatient", noise[k % 3])))

    # columns to the right, rows to the back: the normal points to the feet, the order of planes is from head to feet
    def feet(ds: pydicom.Dataset, k: int) -> None:
        ds.ImageOrientationPatient, ds.ImagePositionPatient = [-1, 0, 0, 0, 1, 0], [10, -20, 30 + 3 * k]

    down = np.array([[1.5, 0, 0, -10], [0, -2, 0, 20], [0, 0, -3, 45], [0, 0, 0, 1.0]])
    check(series(tmp_path / "feet", feet), VALUES[:, :, ::-1], down)


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ([0, 3, 6, 12, 15, 18], ["6.00 mm", "3.00 mm", "slices are missing"]),
        ([0, 3, 6, 9, 12, 15.9], ["3.90 mm", "3.00 mm", "gaps differ"]),
        # each gap is within tolerance, the places are not: 3 gaps of 5 mm, then 2 of 4.1 mm
        ([0, 5, 10, 15, 19.1, 23.2], ["4.10 to 5.00 mm", "off its place"]),
        ([0, 10, 20, 31.2, 41.2, 51.2], ["11.20 mm", "10.00 mm"]),
        ([0, 0, 3, 6, 9, 12], ["same position", "IM9.dcm", "IM8.dcm"]),
        ([0, 0.02, 3, 3.02, 6, 6.02], ["same position", "like 2 more"]),
        ([0, 1e-5, 2e-5, 3e-5, 4e-5, 5e-5], ["same position"]),
        # one slice far from the others
        ([0, 3, 6, 9, 12, 500], ["488.00 mm", "missing"]),
    ],
)
def test_uneven_gaps_are_refused(tmp_path: Path, heights: list[float], words: list[str]) -> None:
    refused(series(tmp_path, lambda ds, k: setattr(ds, "ImagePositionPatient", [-10, -20, heights[k]])), *words)


def test_gaps_of_rounded_positions_are_even(tmp_path: Path) -> None:
    heights = [30, 33.04, 35.95, 39.01, 42.04, 45]
    check(series(tmp_path, lambda ds, k: setattr(ds, "ImagePositionPatient", [-10, -20, heights[k]])))


def test_frames_lie_where_their_positions_say(tmp_path: Path) -> None:
    check([enhanced(tmp_path / "up.dcm", EVERY)])
    check([enhanced(tmp_path / "down.dcm", EVERY[::-1])])
    check([enhanced(tmp_path / "mixed.dcm", [3, 0, 5, 1, 4, 2])])
    refused([enhanced(tmp_path / "gap.dcm", [0, 1, 4, 5])], "missing", "9.00 mm", "frame 2", "frame 3")
    # the same pictures again are copies; others at the same positions are not
    check([enhanced(tmp_path / "twice.dcm", EVERY + EVERY)])

    def brighter(ds: pydicom.Dataset) -> None:
        stored = np.frombuffer(ds.PixelData, "<u2").copy()
        stored[len(stored) // 2 :] += 1
        ds.PixelData = stored.tobytes()

    refused([enhanced(tmp_path / "phases.dcm", EVERY + EVERY, brighter)], "same position", "several stacks")


@pytest.mark.parametrize("frame", [0, 2, 5])
@pytest.mark.parametrize("turned", [CORONAL, [0, 1, 0, -1, 0, 0], [-1, 0, 0, 0, 1, 0]])
def test_a_slice_of_another_orientation_is_never_taken_as_it_is(tmp_path: Path, frame: int, turned: list[int]) -> None:
    files = series(tmp_path, lambda ds, k: setattr(ds, "ImageOrientationPatient", turned if k == frame else AXIAL))
    refused(files, f"IM{9 - frame}.dcm", "orientation")
