"""NIfTI and its relatives: values and places as nibabel and SimpleITK see them, or a refusal with the reason."""

from __future__ import annotations

import bz2
import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from small_scans import AFFINE, SHAPE, body, header_only, nifti

from bundle.errors import UserError
from bundle.images import read, read_scan
from bundle.images.nifti import header


def written(path: Path, stored: np.ndarray, edit=None, *, order: str = "<", offset: int = 352, between: bytes = bytes(4)) -> Path:
    """A NIfTI-1 written by hand; `edit` changes the header."""
    found = nibabel.Nifti1Header(endianness=order)
    found.set_data_dtype(stored.dtype.newbyteorder(order))
    found.set_data_shape(stored.shape)
    found.set_xyzt_units("mm")
    found.set_sform(AFFINE, 1)
    found.set_qform(AFFINE, 1)
    found["vox_offset"], found["magic"] = offset, b"n+1"
    if edit:
        edit(found)
    block = found.binaryblock + between
    block += bytes(offset - len(block))
    content = block + stored.astype(stored.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def test_each_way_to_store_a_scan_gives_its_values(tmp_path: Path):
    plain = body()
    extension = b"\1\0\0\0" + (64).to_bytes(4, "little") + (6).to_bytes(4, "little") + b"comment ".ljust(56, b"\0")
    (tmp_path / "packed.nii.bz2").write_bytes(bz2.compress(nifti(tmp_path / "x.nii").read_bytes()))
    nifti(tmp_path / "y.nii").rename(tmp_path / "plain.nii.gz")
    nifti(tmp_path / "y.nii.gz").rename(tmp_path / "gzip.nii")
    whole = nifti(tmp_path / "x.nii").read_bytes()
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(whole[:5000]) + gzip.compress(whole[5000:]))
    nibabel.save(nibabel.Nifti1Pair(plain, AFFINE), tmp_path / "pair.img")
    for end in ("hdr", "img"):
        (tmp_path / f"pair.{end}").rename(tmp_path / f"PAIR.{end.upper()}")
    nibabel.save(nibabel.Nifti2Image(plain, AFFINE), tmp_path / "second.nii.gz")
    nibabel.save(nibabel.MGHImage(plain, AFFINE), tmp_path / "freesurfer.mgz")
    nibabel.save(nibabel.MGHImage(plain, AFFINE), tmp_path / "freesurfer.mgh")
    (tmp_path / "plain.mgz").write_bytes((tmp_path / "freesurfer.mgh").read_bytes())
    (tmp_path / "freesurfer.mgh").write_bytes((tmp_path / "freesurfer.mgz").read_bytes())
    files = [
        written(tmp_path / "big.nii.gz", plain, order=">"),
        written(tmp_path / "offset.nii.gz", plain, offset=4096),
        written(tmp_path / "extension.nii.gz", plain, offset=352 + 64, between=extension),
        written(tmp_path / "padded.nii.gz", plain, offset=4096, between=extension),
        written(tmp_path / "wide.nii.gz", plain.astype(np.int64)),
        *(tmp_path / name for name in ("packed.nii.bz2", "plain.nii.gz", "gzip.nii", "members.nii.gz", "PAIR.HDR", "second.nii.gz")),
        *(tmp_path / name for name in ("freesurfer.mgz", "plain.mgz", "freesurfer.mgh")),
    ]
    for path in files:
        values, affine, extra = read_scan(path)
        assert values.dtype == np.int16 and np.array_equal(values, plain), path
        assert np.allclose(affine, AFFINE) and extra["orientation_known"] is True, path


def test_values_above_int16_and_scaled_ones(tmp_path: Path):
    high = body().astype(np.int32)
    high[-1, -1, -1] = 40000  # the last voxel: what was read before stays
    values, _, _ = read_scan(written(tmp_path / "high.nii", high))
    assert values.dtype == np.float32 and np.array_equal(values, high)

    def scaling(found):
        found["scl_slope"], found["scl_inter"] = 0.25, -50

    values, _, _ = read_scan(written(tmp_path / "scaled.nii", (body() * 4 + 200).astype(np.int16), scaling))
    assert values.dtype == np.float32 and np.array_equal(values, body())
    stored, _, _ = read(written(tmp_path / "labels.nii", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)))
    assert stored.dtype == np.uint8 and np.array_equal(stored.ravel(), np.arange(24))


@pytest.mark.parametrize("content", [b"no image" * 100, b"", b"\0\0\0\1", b"\x1f\x8b\x08\0" + bytes(400)])
def test_what_is_no_mgh_is_said_in_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "scan.mgz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"scan\.mgz: the file (is empty|is truncated|cannot be read as an image).*Fix: "):
        read_scan(path)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1), ("unknown", 1)])
def test_units_count(tmp_path: Path, unit: str, factor: float):
    affine = AFFINE.copy()
    affine[:3] *= factor
    image = nibabel.Nifti1Image(body(), affine)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    assert np.allclose(read_scan(tmp_path / "scan.nii.gz")[1], AFFINE, rtol=1e-6)


@pytest.mark.parametrize("unit", ["meter", "micron"])
def test_units_that_cannot_be_right_are_refused(tmp_path: Path, unit: str):
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    with pytest.raises(UserError, match=r"its unit is (metres|microns), so that voxels measure .* mm.*set xyzt_units"):
        read_scan(tmp_path / "scan.nii.gz")


def test_without_a_voxel_size_nothing_is_taken_for_1_mm(tmp_path: Path):
    def no_size(found):
        found["pixdim"][1:4] = 0
        found["sform_code"] = 0

    def no_forms(found):
        found["pixdim"][2] = 0
        found["qform_code"] = found["sform_code"] = 0

    for edit in (no_size, no_forms):
        with pytest.raises(UserError, match="its header gives no voxel size"):
            read_scan(written(tmp_path / "scan.nii.gz", body(), edit))

    def sform(found):
        found["pixdim"][1:4] = 0  # the sform has sizes of its own

    assert np.allclose(read_scan(written(tmp_path / "scan.nii.gz", body(), sform))[1], AFFINE)


def test_sides_that_are_a_guess_are_said(tmp_path: Path):
    def no_forms(found):
        found["qform_code"] = found["sform_code"] = 0

    _, affine, extra = read_scan(written(tmp_path / "scan.nii.gz", body(), no_forms))
    assert extra["orientation_known"] is False
    assert np.allclose(nibabel.affines.voxel_sizes(affine), [4, 4, 5])
    analyze = nibabel.AnalyzeImage(body(), np.diag([-4.0, 4, 5, 1]))
    nibabel.save(analyze, tmp_path / "old.img")
    values, _, extra = read_scan(tmp_path / "old.hdr")
    assert extra["orientation_known"] is False and np.array_equal(values, body())


def test_what_is_no_scan_is_refused_in_words_that_fit(tmp_path: Path):
    nibabel.save(nibabel.Nifti1Image(body()[None], AFFINE), tmp_path / "channel.nii.gz")
    nibabel.save(nibabel.Nifti1Pair(body(), AFFINE), tmp_path / "lone.img")
    (tmp_path / "lone.img").unlink()
    (tmp_path / "zst.nii.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    (tmp_path / "folder.nii.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.nii.gz")
    within = nifti(tmp_path / "within.nii")
    within.write_bytes(within.read_bytes()[:108] + np.float32(0).tobytes() + within.read_bytes()[112:])
    short = nifti(tmp_path / "short.nii")
    short.write_bytes(short.read_bytes()[:-10])
    cases = {
        "channel.nii.gz": "its first axis is a channel",
        "lone.hdr": r"there is no \.img next to it",
        "zst.nii.zst": r"packed by zstd.*zstd -d FILE",
        "folder.nii.gz": "no DICOM image is in this folder",
        "pipe.nii.gz": "folder, pipe or device",
        "within.nii": "voxels begin at byte 0, which is within the header",
        "short.nii": "it ends 10 bytes too early",
    }
    for name, words in cases.items():
        with pytest.raises(UserError, match=words):
            read_scan(tmp_path / name)


def test_headers_and_streams_that_would_fill_the_machine_are_refused_at_once(tmp_path: Path):
    huge = header_only(tmp_path / "huge.nii", (32767, 32767, 32767))
    with gzip.open(tmp_path / "huge.nii.gz", "wb") as file:
        file.write(huge.read_bytes())
    for path in (huge, tmp_path / "huge.nii.gz"):
        with pytest.raises(UserError, match="32767x32767x32767 voxels"):
            read_scan(path)
    with pytest.raises(UserError, match=r"more than memory_gb, 1e-05"):
        read_scan(nifti(tmp_path / "small.nii.gz"), memory_gb=1e-5)
    late = nifti(tmp_path / "late.nii").read_bytes()
    late = late[:108] + np.float32(1e12).tobytes() + late[112:]
    (tmp_path / "late.nii.bz2").write_bytes(bz2.compress(late))
    with pytest.raises(UserError, match="voxels begin at byte 9999999"):
        read_scan(tmp_path / "late.nii.bz2")
    with gzip.open(tmp_path / "behind.nii.gz", "wb", 1) as file:
        file.write(nifti(tmp_path / "x.nii").read_bytes())
        for _ in range(5):
            file.write(bytes(16 << 20))
    with pytest.raises(UserError, match="far more data follows its voxels"):
        read_scan(tmp_path / "behind.nii.gz")


def test_the_header_alone_is_read_without_voxels(tmp_path: Path):
    found = header(header_only(tmp_path / "huge.nii", (3000, 3000, 3000)))
    assert found.shape == (3000, 3000, 3000) and found.dtype == np.int16
    assert found.forms.gap_mm(SHAPE) is None or found.forms.gap_mm(SHAPE) == 0
