"""What a DICOM series says is read to the value, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import AFFINE, AXIAL, CORONAL, VALUES, enhanced, pixels, save, series
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from bundle.dicom import read_series
from bundle.errors import UserError

EVERY = list(range(6))


def check(files: list[Path], values: np.ndarray = VALUES, affine: np.ndarray = AFFINE) -> np.ndarray:
    found, grid = read_series(files)
    assert found.shape == values.shape and np.array_equal(found, values)
    assert np.allclose(grid, affine, atol=1e-9)
    return found


def refused(files: list[Path], *words: str) -> str:
    with pytest.raises(UserError) as error:
        read_series(files)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "Fix:" in text and "\n" not in text
    return text


def test_values_and_grid_of_plain_slices_in_any_order(tmp_path: Path) -> None:
    files = series(tmp_path)
    assert check(files).dtype == np.int16
    check(files[::-1])
    check(files[3:] + files[:3])


def test_pixel_spacing_is_between_rows_first_and_never_assumed(tmp_path: Path) -> None:
    def without(ds: pydicom.Dataset, k: int) -> None:
        del ds.PixelSpacing
        # of the detector, not of the patient
        ds.ImagerPixelSpacing = ds.NominalScannedPixelSpacing = [2, 1.5]

    refused(series(tmp_path / "all", without), "PixelSpacing (0028,0030)", "ImagerPixelSpacing", ".dcm")
    text = refused(series(tmp_path / "one", lambda ds, k: without(ds, k) if k == 3 else None), "PixelSpacing (0028,0030)")
    assert "IM6.dcm" in text
    for odd in ([0, 1.5], [-2, 1.5], [2, 1e9]):
        refused(series(tmp_path / f"odd{odd[0]}", lambda ds, k, odd=odd: setattr(ds, "PixelSpacing", odd)), "PixelSpacing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImageOrientationPatient", None),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]),
        ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]),
        ("RescaleSlope", "0"),
        ("RescaleSlope", "1e300"),
        ("RescaleIntercept", "-1e300"),
        ("RescaleSlope", None),
        ("RescaleIntercept", None),
        ("RescaleType", "ED"),
        ("Rows", 5),
        ("Rows", 3),
        ("Columns", 60000),
        ("BitsStored", 17),
        ("PixelRepresentation", None),
        ("PixelRepresentation", 7),
        ("SamplesPerPixel", 3),
        ("PhotometricInterpretation", "RGB"),
    ],
)
def test_a_slice_that_does_not_say_what_it_should_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        if k == 2 and value is None:
            delattr(ds, name)
        elif k == 2:
            setattr(ds, name, value)

    files = series(tmp_path, change)
    text = refused(files, "IM7.dcm")
    assert name in text or any(word in text for word in ("rows", "colour", "HU", "cut off"))


def test_a_slice_without_rescale_among_others_is_refused_by_name(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        if k in (2, 4):
            del ds.RescaleSlope, ds.RescaleIntercept

    assert "IM7.dcm has no RescaleSlope and RescaleIntercept, like 1 more" in refused(series(tmp_path, change), str(tmp_path))


def test_slope_and_intercept_of_each_slice(tmp_path: Path) -> None:
    # the first slice is whole: a type chosen by it alone would cut the others
    slopes = [1.0, 0.5, 0.25, 2.0, 0.5, 1.0]
    values = VALUES.astype(np.float32)
    values[:, :, 1] += 0.5
    values[:, :, 2] += 0.25

    def change(ds: pydicom.Dataset, k: int) -> None:
        pixels(ds, values[:, :, k].T if k != 3 else VALUES[:, :, k].T // 2 * 2, slopes[k], (-1024.0, -1000.0)[k % 2])

    expected = values.copy()
    expected[:, :, 3] = VALUES[:, :, 3] // 2 * 2
    assert check(series(tmp_path, change), expected).dtype == np.float32


def test_signs_and_bits_are_as_the_header_says(tmp_path: Path) -> None:
    check(series(tmp_path / "signed", bits=12, signed=True, intercept=0.0))
    check(series(tmp_path / "mixed", signed=lambda k: k < 3, intercept=lambda k: 0.0 if k < 3 else -1024.0))

    def rubbish(ds: pydicom.Dataset, k: int) -> None:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") | 0x7000).tobytes()

    check(series(tmp_path / "overlay", rubbish, bits=12))


def test_values_beyond_16_bits_become_float(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[2, 2, 4] = 40000

    def change(ds: pydicom.Dataset, k: int) -> None:
        pixels(ds, values[:, :, k].T)

    assert check(series(tmp_path, change), values).dtype == np.float32


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_every_syntax_gives_the_stored_values_whatever_is_white(tmp_path: Path, syntax: str | None, photometric: str) -> None:
    # GDCM's decoder of RLE wants more than a few pixels
    larger = np.kron(VALUES, np.ones((8, 8, 1), np.int16))

    def change(ds: pydicom.Dataset, k: int) -> None:
        pixels(ds, larger[:, :, k].T)
        ds.PhotometricInterpretation = photometric

    files = series(tmp_path, change)
    for file in files if syntax else ():
        ds = pydicom.dcmread(file)
        if syntax == RLELossless:
            ds.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        ds["PixelData"].VR = "OB" if syntax == RLELossless else "OW"
        pydicom.dcmwrite(file, ds, implicit_vr=implicit, little_endian=little)
    check(files, larger)


def test_without_preamble(tmp_path: Path) -> None:
    files = series(tmp_path)
    for file in files:
        file.write_bytes(file.read_bytes()[132:])
    check(files)


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


def test_a_slice_that_is_cut_off_is_named(tmp_path: Path) -> None:
    files = series(tmp_path)
    files[2].write_bytes(files[2].read_bytes()[:-10])
    refused(files, "IM7.dcm", "cut off", "30 bytes", "40")


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


def test_slope_of_each_frame_and_groups_that_do_not_fit(tmp_path: Path) -> None:
    def per_frame(ds: pydicom.Dataset) -> None:
        shared = ds.SharedFunctionalGroupsSequence[0]
        del shared.PixelValueTransformationSequence
        for k, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept = "1", str(-1024 + 10 * k)
            frame.PixelValueTransformationSequence = [item]

    check([enhanced(tmp_path / "each.dcm", EVERY, per_frame)], VALUES + np.arange(6, dtype=np.int16) * 10)
    refused([enhanced(tmp_path / "few.dcm", EVERY, lambda ds: ds.PerFrameFunctionalGroupsSequence.pop())], "6", "5 frames")

    def bare(ds: pydicom.Dataset) -> None:
        del ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence

    refused([enhanced(tmp_path / "bare.dcm", EVERY, bare)], "6 frames", "no positions")

    def turned(ds: pydicom.Dataset) -> None:
        item = pydicom.Dataset()
        item.ImageOrientationPatient = CORONAL
        ds.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [item]

    refused([enhanced(tmp_path / "turned.dcm", EVERY, turned)], "frame 3", "orientation")


@pytest.mark.parametrize("frame", [0, 2, 5])
@pytest.mark.parametrize("turned", [CORONAL, [0, 1, 0, -1, 0, 0], [-1, 0, 0, 0, 1, 0]])
def test_a_slice_of_another_orientation_is_never_taken_as_it_is(tmp_path: Path, frame: int, turned: list[int]) -> None:
    files = series(tmp_path, lambda ds, k: setattr(ds, "ImageOrientationPatient", turned if k == frame else AXIAL))
    refused(files, f"IM{9 - frame}.dcm", "orientation")


def test_compressed_frames(tmp_path: Path) -> None:
    """Slope of each frame and MONOCHROME1, which GDCM would take from the first frame and invert."""
    larger = np.kron(VALUES, np.ones((8, 8, 1), np.int16))
    order = [3, 0, 5, 1, 4, 2]

    def change(ds: pydicom.Dataset) -> None:
        pixels(ds, np.stack([larger[:, :, k].T for k in order]))
        ds.PhotometricInterpretation = "MONOCHROME1"
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
        del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        for k, frame in zip(order, ds.PerFrameFunctionalGroupsSequence, strict=True):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept = "1", str(-1024 + k)
            frame.PixelValueTransformationSequence = [item]
        ds.compress(RLELossless, generate_instance_uid=False)

    check([enhanced(tmp_path / "x.dcm", order, change)], larger + np.arange(6, dtype=np.int16))


def test_a_compressed_plane_that_its_bytes_cannot_be_is_not_decoded(tmp_path: Path) -> None:
    def change(ds: pydicom.Dataset, k: int) -> None:
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.Rows = ds.Columns = 8000

    refused(series(tmp_path, change), "bytes of compressed pixels", "8000 rows")


def test_what_is_no_ct_is_not_read(tmp_path: Path) -> None:
    refused(series(tmp_path / "pet", lambda ds, k: setattr(ds, "Modality", "PT")), "not a CT (PET)")
    (tmp_path / "x.dcm").write_bytes(b"hello" * 99)
    refused([tmp_path / "x.dcm"], "not a DICOM file")
    refused(series(tmp_path / "alone")[:1], "two-dimensional")


def test_compressed_pixels_that_cannot_be_read_fail_their_series(tmp_path: Path) -> None:
    files = series(tmp_path)
    ds = pydicom.dcmread(files[3])
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"  # HTJ2K, which GDCM does not know
    save(ds, files[3])
    refused(files, "IM6.dcm", "1.2.840.10008.1.2.4.201", "uncompressed")
