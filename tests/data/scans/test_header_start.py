"""The first bytes of a volume file: labels or not, eight bits or not, its grid."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from bundle.data.scans.header_start import Start, read_start

GRID = (9.0, 8.0, 7.0, 1.5, 1.5, 2.0)
AFFINE = np.diag([-1.5, 1.5, 2, 1])


def saved(path: Path, dtype: type = np.int16, kind: type = nibabel.Nifti1Image, intent: str | None = None, order: str = "<") -> Path:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(dtype)
    image = kind(np.zeros((9, 8, 7), dtype), AFFINE, header)
    if intent:
        image.header.set_intent(intent)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_of_either_version_and_order(tmp_path: Path, kind: type, order: str) -> None:
    assert read_start(saved(tmp_path / "a.nii", np.int16, kind, None, order)) == Start(False, False, GRID)
    assert read_start(saved(tmp_path / "b.nii.gz", np.uint8, kind, "label", order)) == Start(True, True, GRID)


def test_eight_bits_that_are_scaled_are_no_small_numbers(tmp_path: Path) -> None:
    content = bytearray(saved(tmp_path / "a.nii", np.uint8).read_bytes())
    for slope, small in ((0.0, True), (1.0, True), (float("nan"), True), (2.0, False)):
        struct.pack_into("<f", content, 112, slope)
        (tmp_path / "a.nii").write_bytes(content)
        assert read_start(tmp_path / "a.nii").small is small, slope


def test_a_table_of_labels_behind_the_header(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((9, 8, 7), np.int16), AFFINE)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, b"<CaretExtension><LabelTable></LabelTable></CaretExtension>"))
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert read_start(tmp_path / "a.nii.gz") == Start(True, False, GRID)


def test_what_is_packed_otherwise_or_damaged(tmp_path: Path) -> None:
    plain = saved(tmp_path / "x.nii", np.uint8).read_bytes()
    (tmp_path / "a.nii.bz2").write_bytes(bz2.compress(plain))
    (tmp_path / "gzip.nii").write_bytes(gzip.compress(plain))
    assert read_start(tmp_path / "a.nii.bz2") == read_start(tmp_path / "gzip.nii") == Start(False, True, GRID)
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(plain)[:12])
    (tmp_path / "wrong.nii.gz").write_bytes(b"\x1f\x8b" + bytes(90))
    (tmp_path / "short.nii").write_bytes(plain[:300])
    (tmp_path / "text.dcm").write_text("x")
    for name in ("cut.nii.gz", "wrong.nii.gz", "short.nii", "text.dcm", "nowhere.nii"):
        assert read_start(tmp_path / name) == Start(), name


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["type: short", "sizes: 9 8 7", "space directions: (1.5,0,0) (0,1.5,0) (0,0,-2)"], Start(False, False, GRID)),
        # turned by the angle of a right triangle of 3, 4 and 5
        (["type: uint8", "sizes: 9 8 7", "space directions: (0.9,1.2,0) (-1.2,0.9,0) (0,0,2)"], Start(False, True, GRID)),
        (["type: unsigned char", "sizes: 9 8 7", "spacings: 1.5 1.5 2", "Segment0_Name:=spleen"], Start(True, True, GRID)),
        (["type: short", "sizes: 9 8 7", "Segmentation_MasterRepresentation:=Binary labelmap"], Start(True, False, ())),
        (["type: short", "sizes: nine", "spacings: 1 1 1"], Start()),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_nrrd(tmp_path: Path, lines: list[str], expected: Start, end: str) -> None:
    (tmp_path / "a.nrrd").write_bytes((end.join(["NRRD0004", *lines]) + end * 2).encode() + b"Segment0_Name:=in the voxels\n")
    assert read_start(tmp_path / "a.nrrd") == expected


def test_meta_image(tmp_path: Path) -> None:
    for kind, small in (("MET_UCHAR", True), ("MET_SHORT", False)):
        text = f"NDims = 3\nDimSize = 9 8 7\nElementSpacing = 1.5 1.5 2\nElementType = {kind}\nElementDataFile = LOCAL\nDimSize = 1 1 1\n"
        (tmp_path / "a.mha").write_text(text)
        assert read_start(tmp_path / "a.mha") == Start(False, small, GRID)
