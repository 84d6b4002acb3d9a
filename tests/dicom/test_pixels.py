"""Stored values of a DICOM series become HU, whatever they are packed in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import VALUES, check, enhanced, pixels, refused, save, series
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from bundle.dicom import pixels as pixels_module

ORDERS = [[4, 1], [5, 2], [0], [3]]


def test_values_and_grid_of_plain_slices_in_any_order(tmp_path: Path) -> None:
    files = series(tmp_path)
    assert check(files).dtype == np.int16
    check(files[::-1])
    check(files[3:] + files[:3])


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


@pytest.mark.parametrize("compressed", [False, True])
def test_bits_that_are_not_the_lowest_are_read_where_nothing_is_compressed(tmp_path: Path, compressed: bool) -> None:
    # GDCM's decoder of RLE wants more than a few pixels
    larger = np.kron(VALUES, np.ones((8, 8, 1), np.int16))

    def change(ds: pydicom.Dataset, k: int) -> None:
        pixels(ds, larger[:, :, k].T, bits=12)
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") << 4).astype("<u2").tobytes()
        ds.BitsStored, ds.HighBit = 16, 15
        if compressed:
            ds.compress(RLELossless, generate_instance_uid=False)
        ds.BitsStored = 12

    files = series(tmp_path, change)
    if compressed:
        refused(files, "IM", "compressed pixels", "BitsAllocated 16, BitsStored 12, HighBit 15")
    else:
        check(files, larger)


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


def test_offsets_of_frames_come_before_the_pixels(tmp_path: Path) -> None:
    """The Extended Offset Table (7FE0,0001), which large compressed files have."""

    def change(ds: pydicom.Dataset) -> None:
        ds.compress(RLELossless, generate_instance_uid=False, encapsulate_ext=True)
        assert "ExtendedOffsetTable" in ds

    check([enhanced(tmp_path / "x.dcm", list(range(6)), change)])


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


@pytest.mark.parametrize(("at_once", "calls"), [(1 << 22, [4]), (3 * 20, [2, 2]), (1, [1, 1, 1, 1])])
def test_a_compressed_file_is_read_once_whatever_the_order_of_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, calls: list[int]
) -> None:
    """Of slices 0 to 5 one file has 1 and 4, another 5 and 2, and the others have one each."""

    def change(ds: pydicom.Dataset, uid: str) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
        ds.PixelData = pydicom.encaps.encapsulate([bytes(2)] * int(ds.NumberOfFrames))
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True

    orders = {enhanced(tmp_path / f"{order[0]}.dcm", order, lambda ds, n=order[0]: change(ds, f"1.2.6.{n + 1}")): order for order in ORDERS}
    asked: list[list[str]] = []

    def decoded(function: str, files: list[str], folder: str, **limits: object) -> list[np.ndarray]:
        asked.append(files)
        return [np.stack([VALUES[:, :, k].T.astype(np.int32) + 1024 for k in orders[Path(file)]]) for file in files]

    monkeypatch.setattr(pixels_module, "VOXELS_AT_ONCE", at_once)
    monkeypatch.setattr("bundle.reader_process.call", decoded)
    check(list(orders))
    assert [len(files) for files in asked] == calls and len({file for files in asked for file in files}) == 4


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
