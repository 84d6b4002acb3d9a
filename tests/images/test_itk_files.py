"""NRRD and MetaImage: what ITK reads is right, and what it would take for granted or die of is refused."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from small_scans import SHAPE, body

from bundle.errors import UserError
from bundle.images import read, read_scan

RAW = body().tobytes(order="F")
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": " ".join(map(str, SHAPE)),
    "space directions": "(4,0,0) (0,4,0) (0,0,5)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "10 20 30",
    "ElementSpacing": "4 4 5",
    "DimSize": " ".join(map(str, SHAPE)),
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
AFFINE = np.array([[-4, 0, 0, -10], [0, -4, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1.0]])  # LPS turned to RAS


pytestmark = pytest.mark.usefixtures("reader_ended")


def nrrd(path: Path, content: bytes = RAW, **changes: str | None) -> Path:
    fields = {**NRRD, **{name.replace("_", " "): value for name, value in changes.items()}}
    # a name that ends in a colon is that of a note, `name:=value`
    lines = [f"{name}{'=' if name.endswith(':') else ': '}{value}\n" for name, value in fields.items() if value is not None]
    path.write_bytes(f"NRRD0004\n{''.join(lines)}\n".encode() + content)
    return path


def meta(path: Path, content: bytes = RAW, **changes: str | None) -> Path:
    fields = {**META, **changes}
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # what comes after it is not of the header
    path.write_bytes("".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None).encode() + content)
    return path


def test_values_and_places(tmp_path: Path):
    big = body().astype(">i2").tobytes(order="F")
    (tmp_path / "packed.zraw").write_bytes(zlib.compress(RAW))
    (tmp_path / "my data.raw.gz").write_bytes(gzip.compress(RAW))
    files = [
        nrrd(tmp_path / "a.nrrd"),
        nrrd(tmp_path / "A.NRRD", gzip.compress(RAW), encoding="gzip"),
        nrrd(tmp_path / "ascii.nrrd", " ".join(map(str, body().ravel(order="F"))).encode(), encoding="ascii"),
        nrrd(tmp_path / "big.nrrd", big, endian="big"),
        nrrd(tmp_path / "a.nhdr", b"", encoding="gzip", data_file="my data.raw.gz"),
        meta(tmp_path / "a.mha"),
        meta(tmp_path / "SCAN.MHA"),
        meta(tmp_path / "packed.mha", zlib.compress(RAW), CompressedData="True"),
        meta(tmp_path / "packed_big.mha", zlib.compress(big), CompressedData="True", BinaryDataByteOrderMSB="True"),
        meta(tmp_path / "one_letter.mha", zlib.compress(big), CompressedData="T", BinaryDataByteOrderMSB="1"),
        meta(tmp_path / "no_scale.mha", ElementToIntensityFunctionSlope="1", ElementToIntensityFunctionOffset="0"),
        meta(tmp_path / "packed.mhd", b"", CompressedData="True", ElementDataFile="packed.zraw"),
        meta(tmp_path / "size.mha", ElementSpacing=None, ElementSize="4 4 5"),
        meta(tmp_path / "small_letters.mha", ElementDataFile="Local"),
        nrrd(tmp_path / "note.nrrd", **{"space directions:": "(9,0,0) (0,9,0) (0,0,9)"}),
        nrrd(tmp_path / "i8.nrrd", body().astype("<i8").tobytes(order="F"), type="int64"),
        meta(tmp_path / "i8.mha", body().astype("<i8").tobytes(order="F"), ElementType="MET_LONG_LONG"),
    ]
    for path in files:
        values, affine, extra = read_scan(path)
        assert values.dtype == np.int16 and np.array_equal(values, body()), path
        assert np.allclose(affine, AFFINE) and extra["orientation_known"] is True, path


def test_types_other_than_int16(tmp_path: Path):
    values = body().astype(np.float64) + 0.25
    values[0, 0, 0] = np.nan
    content = values.tobytes(order="F")
    for path in (
        nrrd(tmp_path / "a.nrrd", content, type="double"),
        meta(tmp_path / "a.mha", zlib.compress(content), ElementType="MET_DOUBLE", CompressedData="True"),
    ):
        scan, _, _ = read_scan(path)
        assert scan.dtype == np.float32 and scan[0, 0, 0] == -1024 and np.array_equal(scan.ravel()[1:], values.ravel()[1:])
        stored, _, _ = read(path)
        assert stored.dtype == np.float64 and np.array_equal(stored, values, equal_nan=True)
    labels = (body() > 0).astype(np.uint8)
    stored, _, _ = read(nrrd(tmp_path / "label.nrrd", labels.tobytes(order="F"), type="uchar"))
    assert stored.dtype == np.uint8 and np.array_equal(stored, labels)


@pytest.mark.parametrize(("name", "dtype"), [("signed char", "i1"), ("int64", "<i8"), ("uint64", "<u8")])
def test_types_that_itk_does_not_read_in_python(tmp_path: Path, name: str, dtype: str):
    labels = np.where(body() > 0, 100 if dtype == "i1" else 70000, 0).astype(dtype)
    labels[0, 0, 0] = np.iinfo(dtype).min if dtype != "<i8" else -(2**40)
    endian = None if dtype == "i1" else "little"
    stored, affine, _ = read(nrrd(tmp_path / "a.nrrd", labels.tobytes(order="F"), type=name, endian=endian))
    assert stored.dtype == np.dtype(dtype) and np.array_equal(stored, labels) and np.allclose(affine, AFFINE)
    if dtype == "<i8":
        labels[1, 0, 0] = 2**53 + 2
        with pytest.raises(UserError, match="64-bit values"):
            read(nrrd(tmp_path / "b.nrrd", labels.tobytes(order="F"), type=name))


def test_sides_that_are_a_guess_are_said(tmp_path: Path):
    for path in (
        nrrd(tmp_path / "a.nrrd", space=None, space_directions=None, space_origin=None, spacings="4 4 5"),
        meta(tmp_path / "a.mha", TransformMatrix=None),
        # MetaIO passes over a field that is spelled in other letters
        meta(tmp_path / "b.mha", TransformMatrix=None, transformmatrix="1 0 0 0 1 0 0 0 1"),
    ):
        values, affine, extra = read_scan(path)
        assert extra["orientation_known"] is False and np.array_equal(values, body())
        assert np.allclose(np.abs(np.diag(affine)[:3]), [4, 4, 5])


REFUSED = {
    "no voxel size (neither": lambda path: nrrd(path / "a.nrrd", space=None, space_directions=None, space_origin=None),
    "no voxel size": lambda path: nrrd(path / "a.nrrd", space=None, space_directions=None, space_origin=None, spacings="4 NaN 5"),
    "no voxel size (no ElementSpacing": lambda path: meta(path / "a.mha", ElementSpacing=None),
    "no ElementSpacing of three sizes": lambda path: meta(path / "a.mha", ElementSpacing="4 0 5"),
    "ElementSpacing of three": lambda path: meta(path / "a.mha", ElementSpacing=None, elementspacing="4 4 5"),
    "(neither space directions nor spacings": lambda path: nrrd(
        path / "a.nrrd", space=None, space_directions=None, space_origin=None, **{"spacings:": "4 4 5"}
    ),
    "Offset in its header is '10 20'": lambda path: meta(path / "a.mha", Offset="10 20"),
    "HeaderSize in its header is -1": lambda path: meta(
        path / "a.mhd", b"", CompressedData="True", HeaderSize="-1", ElementDataFile="text.mha"
    ),
    "counts in cm": lambda path: meta(path / "a.mha", DistanceUnits="cm"),
    "counts in m, not": lambda path: nrrd(path / "a.nrrd", space_units='"m" "m" "m"'),
    "compressed by bzip2": lambda path: nrrd(path / "a.nrrd", encoding="bzip2"),
    "x.raw, is not there": lambda path: meta(path / "a.mhd", b"", ElementDataFile="x.raw"),
    "y.raw, is not there": lambda path: nrrd(path / "a.nhdr", b"", data_file="y.raw"),
    "truncated: its header claims 34320 bytes": lambda path: meta(path / "a.mha", RAW[:-600]),
    "truncated": lambda path: nrrd(path / "a.nrrd", RAW[:-600]),
    "30000x30000x30000 voxels": lambda path: nrrd(path / "a.nrrd", sizes="30000 30000 30000"),
    "30001x30000x30000 voxels": lambda path: meta(path / "a.mha", DimSize="30001 30000 30000"),
    "scales the values (slope 2, offset 0)": lambda path: meta(path / "a.mha", ElementToIntensityFunctionSlope="2"),
    "scales the values (slope 1, offset -1024)": lambda path: meta(path / "a.mha", ElementToIntensityFunctionOffset="-1024"),
    "vectors of one value": lambda path: nrrd(
        path / "a.nrrd",
        dimension="4",
        sizes=f"1 {NRRD['sizes']}",
        kinds="list domain domain domain",
        space_directions=f"none {NRRD['space directions']}",
    ),
    "several values per voxel": lambda path: meta(path / "a.mha", ElementNumberOfChannels="2", DimSize="15 26 22"),
    "two-dimensional": lambda path: meta(path / "a.mha", DimSize="780 22 1"),
    "does not begin as NRRD": lambda path: path / "text.nrrd",
    "names no ElementDataFile": lambda path: path / "text.mha",
    "no voxel holds a number": lambda path: nrrd(path / "a.nrrd", np.full(SHAPE, np.nan, np.float32).tobytes(), type="float"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_refusals_name_the_reason(tmp_path: Path, words: str):
    for name in ("text.nrrd", "text.mha"):
        (tmp_path / name).write_text("not an image")
    with pytest.raises(UserError) as raised:
        read_scan(REFUSED[words](tmp_path))
    assert words in str(raised.value) and "Fix: " in str(raised.value)


def test_damage_that_only_a_checksum_knows_is_found(tmp_path: Path):
    stored, packed = bytearray(gzip.compress(RAW, 0)), bytearray(zlib.compress(RAW, 0))
    for content in (stored, packed):
        content[20000:20100] = bytes(range(100))
    damaged = [
        nrrd(tmp_path / "a.nrrd", bytes(stored), encoding="gzip"),
        meta(tmp_path / "a.mha", bytes(packed), CompressedData="True"),
        meta(tmp_path / "b.mha", zlib.compress(RAW)[:-100], CompressedData="True"),
        meta(tmp_path / "c.mha", zlib.compress(RAW[:-100]), CompressedData="True"),
        meta(tmp_path / "d.mha", zlib.compress(RAW + RAW), CompressedData="True"),
    ]
    for path in damaged:
        with pytest.raises(UserError, match=path.name):
            read_scan(path)


def test_a_header_that_ends_itk_costs_that_file_only(tmp_path: Path):
    """Raw voxels right behind the last field, without the blank line: ITK's parser may write past its memory."""
    path = nrrd(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"\n\n", b"\n", 1))
    with pytest.raises(UserError, match=r"a\.nrrd"):
        read_scan(path)
    assert np.array_equal(read_scan(nrrd(tmp_path / "b.nrrd"))[0], body())


def test_a_pipe_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "x.raw")
    for path in (meta(tmp_path / "a.mhd", b"", ElementDataFile="x.raw"), nrrd(tmp_path / "a.nhdr", b"", data_file="x.raw")):
        with pytest.raises(UserError, match="pipe or device"):
            read_scan(path)


def test_a_name_that_itk_cannot_open_is_told_as_such(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/M\xfcller"))
    folder.mkdir()
    (folder / "ct.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(UserError, match=r"is not UTF-8, so that ITK cannot open it\. Fix: give it another name"):
        read_scan(folder / "ct.nrrd")
