"""Bytes of a file, unpacked by what it holds, to a verified end."""

from __future__ import annotations

import bz2
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
from small_scans import body, nifti

from bundle.errors import UserError
from bundle.images import read_scan, streams
from bundle.inflate import GzipReader


def test_damage_that_only_a_checksum_knows_is_found(tmp_path: Path):
    whole = nifti(tmp_path / "x.nii").read_bytes()
    stored = bytearray(gzip.compress(whole, 0))
    stored[20000:20100] = bytes(100)
    wrong = bytearray(gzip.compress(whole))
    wrong[-8] ^= 0xFF
    packed = bytearray(bz2.compress(whole))
    packed[-6] ^= 0xFF
    cut = gzip.compress(whole)[:-6]
    for name, content in (("a.nii.gz", stored), ("b.nii.gz", wrong), ("c.nii.bz2", packed), ("d.nii.gz", cut)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read_scan(tmp_path / name)
    (tmp_path / "garbage.nii.gz").write_bytes(gzip.compress(whole) + b"something else")
    assert np.array_equal(read_scan(tmp_path / "garbage.nii.gz")[0], body()), "the stream itself is whole"


def test_packing_is_known_by_the_first_bytes_whatever_the_name(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20
    packed = {"gzip": gzip.compress(content), "bzip2": bz2.compress(content), "": content}
    for how, held in packed.items():
        (tmp_path / "a.nii").write_bytes(held)
        assert streams.packing(tmp_path / "a.nii") == how
        with streams.opened(tmp_path / "a.nii") as stream:
            streams.skip(stream, 256)
            target = np.zeros((3, 2), ">i2")
            streams.read_into(stream, target)
            # the bytes 0 to 11, two by two, the higher first
            assert target.ravel().tolist() == [0x0001, 0x0203, 0x0405, 0x0607, 0x0809, 0x0A0B] and stream.read(1) == b"\x0c"
    (tmp_path / "a.nii").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    assert streams.packing(tmp_path / "a.nii") == "zstd"


def test_a_stream_that_ends_before_says_how_much_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STEP", 4)
    with pytest.raises(EOFError, match="it ends 3 bytes too early"):
        streams.read_into(io.BytesIO(bytes(7)), np.zeros(10, np.uint8))
    with pytest.raises(EOFError, match="it ends 2 bytes too early"):
        streams.skip(io.BytesIO(bytes(7)), 9)


def test_only_what_is_unpacked_is_read_to_its_end_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_BEHIND", 100)
    plain = io.BytesIO(bytes(9))
    streams.read_to_the_end(plain, "a")
    assert plain.tell() == 0
    for length in (100, 101):
        stream = GzipReader(io.BytesIO(gzip.compress(bytes(length))))
        if length == 100:
            streams.read_to_the_end(stream, "a")
        else:
            with pytest.raises(UserError, match="a: far more data follows its voxels"):
                streams.read_to_the_end(stream, "a")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name, said in (("pipe", "pipe or device"), (".", "not a file but a folder"), ("empty", "is empty"), ("no", "no such file")):
        with pytest.raises(UserError, match=said):
            streams.check_regular(tmp_path / name)
    (tmp_path / "one").write_bytes(b"x")
    streams.check_regular(tmp_path / "one")
