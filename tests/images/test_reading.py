"""Reading one image, whatever it is: types, errors in words, series of DICOM, memory."""

from __future__ import annotations

from pathlib import Path

import dicom_files
import nibabel
import numpy as np
import pydicom
import pytest
from small_scans import AFFINE, body, dicom_series, nifti

from bundle.errors import UserError
from bundle.images import read, read_scan
from bundle.images.reading import read_volumes, unreadable
from bundle.images.voxels import AIR


def test_reading_takes_the_memory_of_one_volume(tmp_path: Path):
    import tracemalloc

    values = np.random.default_rng(0).integers(-1000, 1000, (128, 128, 200)).astype(np.int16)
    for name, dtype in (("a.nii.gz", np.int16), ("b.nii.gz", np.float64)):
        nifti(tmp_path / name, values.astype(dtype), dtype=dtype)
        read_scan(nifti(tmp_path / "small.nii.gz"))
        tracemalloc.start()
        scan, _, _ = read_scan(tmp_path / name)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert np.array_equal(scan, values) and peak < scan.nbytes + 16e6, (name, peak)


def test_voxels_of_a_scan_are_int16_or_float32_and_of_an_image_what_is_stored(tmp_path: Path) -> None:
    for stored, as_scan in ((np.uint8, np.int16), (np.int16, np.int16), (np.int32, np.int16), (np.float64, np.float32)):
        path = nifti(tmp_path / "a.nii", (body() // 10 + 100).astype(stored), dtype=stored)
        assert read(path)[0].dtype == stored and read_scan([path])[0].dtype == as_scan
        assert np.array_equal(read(path)[0], read_scan(path)[0])


def test_voxels_that_are_no_numbers_are_counted_in_every_format(tmp_path: Path) -> None:
    import itk

    values = np.asfortranarray(body(), dtype=np.float32)
    values[3, :2, 5] = np.nan, -np.inf
    mgh = tmp_path / "a.mgz"
    nibabel.save(nibabel.MGHImage(values, AFFINE), mgh)
    paths = [nifti(tmp_path / "a.nii.gz", values, dtype=np.float32), mgh]
    for name, packed in (("a.nrrd", False), ("b.mha", False), ("c.mha", True)):
        itk.imwrite(itk.image_from_array(values.T.copy()), str(tmp_path / name), compression=packed)
        paths.append(tmp_path / name)
    for path in paths:
        scan, _, extra = read_scan(path)
        assert extra["not_numbers"] == 2 and (scan[3, :2, 5] == AIR).all(), path
    assert read_scan(nifti(tmp_path / "b.nii.gz"))[2]["not_numbers"] == 0
    both = nifti(tmp_path / "both.nii.gz", np.stack([values, np.zeros_like(values)], axis=-1), dtype=np.float32)
    assert read_volumes(both, ["ct", "pet"])[2]["not_numbers"] == 2


def test_of_several_series_in_a_folder_the_largest_is_read(tmp_path: Path) -> None:
    dicom_files.series(tmp_path, lambda ds, k: k < 3, uid="1.2.9")
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"short_{path.name}"))
    files = dicom_files.series(tmp_path)
    for source in (tmp_path, files, [str(file) for file in files]):
        values, affine, extra = read_scan(source)
        assert values.dtype == np.int16 and np.array_equal(values, dicom_files.VALUES) and np.allclose(affine, dicom_files.AFFINE)
        assert extra["orientation_known"] is True and not extra["nifti_forms"].any()
    with pytest.raises(UserError, match=r"5x4x6 voxels.* more than memory_gb.* Fix: .*raise memory_gb"):
        read_scan(tmp_path, memory_gb=1e-7)


def test_of_two_series_of_one_size_none_is_read(tmp_path: Path) -> None:
    """Phases of one scan: a label map fits the grid of both."""
    dicom_series(tmp_path, uid="1.2.3")
    dicom_series(tmp_path, body() + 10, uid="1.2.4")
    with pytest.raises(UserError, match=r"two series of 22 slices each are in this folder.*Fix: put each into a folder"):
        read_scan(tmp_path)


@pytest.mark.parametrize("content", [b"not DICOM" * 50, b"", None])
def test_a_folder_with_a_slice_that_cannot_be_read_is_not_read(tmp_path: Path, content: bytes | None) -> None:
    """The first or the last slice leaves no gap."""
    files = sorted(dicom_series(tmp_path).iterdir(), key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))
    files[-1].write_bytes(files[-1].read_bytes()[:400] if content is None else content)
    with pytest.raises(UserError, match=files[-1].name):
        read_scan(tmp_path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("x", "its own words"), "x: its own words"),
        (EOFError("it ends 3 bytes too early"), "a.nii: the file is truncated or damaged (it ends 3 bytes too early)"),
        (MemoryError(), "a.nii: the scan does not fit into memory"),
        (RuntimeError("a long story\nReason: x"), "a.nii: the file cannot be read as an image (its voxels are incomplete)"),
        (RuntimeError("a long story\nwrong magic"), "a.nii: the file cannot be read as an image (wrong magic)"),
        (KeyError(), "a.nii: the file cannot be read as an image (KeyError)"),
    ],
)
def test_what_a_library_says_is_an_error_of_the_file(error: Exception, said: str) -> None:
    found = unreadable("a.nii", error)
    assert str(found).startswith(said) and "\n" not in str(found)
