"""gzip unpacked by isal, and by the standard library where isal is missing: the same bytes, the same errors."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zlib

import numpy as np
import pytest

from bundle import inflate

CONTENT = np.random.default_rng(0).integers(-1000, 1000, 300_000).astype(np.int16).tobytes()


@pytest.fixture(params=["isal", "zlib"])
def unpacking(request, monkeypatch):
    """The module as it is with isal, and without."""
    if request.param == "zlib":
        monkeypatch.setattr(inflate, "library", zlib)
    return inflate


def test_it_is_isal_that_unpacks_where_it_is_installed():
    assert inflate.library.__name__ == "isal.isal_zlib"


def test_without_isal_it_is_the_standard_library():
    code = "import sys; sys.modules['isal'] = None; from bundle import inflate; print(inflate.library.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "zlib"


def _read(packed, size):
    reader = inflate.GzipReader(io.BytesIO(packed))
    return b"".join(iter(lambda: reader.read(size), b"")) if size else reader.read()


@pytest.mark.parametrize("size", [0, 1000, 1 << 22])
@pytest.mark.parametrize("members", [1, 3])
def test_the_same_bytes(unpacking, members, size):
    packed = [gzip.compress(CONTENT, level) for level in (1, 6, 9)[:members]]
    assert _read(b"".join(packed), size) == CONTENT * members
    assert _read((b"\0" * 7).join(packed) + b"\0" * 100, size) == CONTENT * members


@pytest.mark.parametrize("size", [100, 1 << 22])
def test_what_follows_a_stream_is_said_after_all_of_it_was_given(unpacking, size):
    reader = inflate.GzipReader(io.BytesIO(gzip.compress(CONTENT, 1) + b"some text"))
    given = b""
    with pytest.raises(gzip.BadGzipFile, match="Not a gzipped file"):
        while True:
            given += reader.read(size)
    assert given == CONTENT


@pytest.mark.parametrize(("damage", "error"), [("end", EOFError), ("middle", Exception), ("checksum", Exception), ("header", Exception)])
def test_damage_is_an_error_that_callers_know(unpacking, damage, error):
    packed = bytearray(gzip.compress(CONTENT, 1))
    if damage == "end":
        packed = packed[:-20]
    else:
        at = {"middle": len(packed) // 2, "checksum": len(packed) - 6, "header": 0}[damage]
        for index in range(at, at + 1 if damage != "middle" else at + 64):
            packed[index] ^= 0xFF
    with pytest.raises((EOFError, *inflate.errors)) as caught:
        _read(bytes(packed), 0)
    assert isinstance(caught.value, error)


def test_a_file_that_grows_enormously_is_given_piece_by_piece(unpacking):
    reader = inflate.GzipReader(io.BytesIO(gzip.compress(bytes(50_000_000), 9)))
    assert len(reader.read(1000)) == 1000 and reader.read(0) == b""
