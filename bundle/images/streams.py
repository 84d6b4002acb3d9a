"""Bytes of a file, unpacked by what the file holds and not by its name, and read to a verified end."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from bundle import inflate
from bundle.errors import UserError, counted
from bundle.inflate import GzipReader
from bundle.read_ahead import Unpacked

# a file, or what unpacks one
Stream = BinaryIO | io.BufferedIOBase
# the most that deflate can shrink; bzip2 and zstd have no such bound
MOST_COMPRESSION = 1032
STEP = 1 << 20
# how much may come after the voxels before a file counts as one that was made to fill the machine
MOST_BEHIND = 64 << 20


def check_regular(path: str | os.PathLike) -> None:
    """Refuse what is not there, is empty, or is a pipe or a device, which could be read for ever.

    Raises:
        UserError: with the reason.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(path, "there is no such file", "check the path") from error
        raise UserError(path, f"the file cannot be opened ({error.strerror})", "check the path and the permissions") from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(path, "this is not a file but a folder, pipe or device", "give a file")
    if found.st_size == 0:
        raise UserError(path, "the file is empty", "copy or export it again")


def packing(path: str | os.PathLike) -> str:
    """How a file is compressed, by its first bytes: "gzip", "bzip2", "zstd", or empty."""
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh":
        return "bzip2"
    return "zstd" if head == b"\x28\xb5\x2f\xfd" else ""


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Stream]:
    """The file's content, unpacked.

    Raises:
        UserError: it is not a regular file, or is packed by zstd where no library for that is installed.
    """
    check_regular(path)
    how = packing(path)
    with open(path, "rb") as file:
        if how == "gzip":
            try:
                yield GzipReader(file)
            except inflate.errors as error:  # of whichever library: callers know zlib's
                raise zlib.error(str(error)) from error
        elif how == "bzip2":
            with bz2.BZ2File(file) as stream:
                yield stream
        elif how == "zstd":
            with _zstd(file, path) as stream:
                yield stream
        else:
            yield file


def _zstd(file: BinaryIO, path: str | os.PathLike) -> Any:
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            fix = "unpack it (`zstd -d FILE`), or `pip install backports.zstd`"
            raise UserError(path, "it is packed by zstd, and no library that unpacks it is installed", fix) from None
    return zstd.ZstdFile(file)


def read_into(stream: Stream, target: np.ndarray) -> None:
    """Fill an array with the next bytes.

    Args:
        stream: what to read.
        target: contiguous, of any type; written in place, step by step.

    Raises:
        EOFError: the stream ends before.
    """
    view = target.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(view):
        part = stream.read(min(STEP, len(view) - at))
        if not part:
            raise EOFError(f"it ends {counted(len(view) - at, 'byte')} too early")
        view[at : at + len(part)] = part
        at += len(part)


def skip(stream: Stream, number: int) -> None:
    """Read past some bytes, as a packed stream has to.

    Raises:
        EOFError: the stream ends before.
    """
    while number > 0:
        part = stream.read(min(STEP, number))
        if not part:
            raise EOFError(f"it ends {counted(number, 'byte')} too early")
        number -= len(part)


def read_to_the_end(stream: Stream, path: str | os.PathLike) -> None:
    """Read what comes after the voxels: gzip and bzip2 compare their checksum at the end only.

    Raises:
        UserError: there is far more than any header or padding needs.
        EOFError, OSError, zlib.error: the content is damaged.
    """
    if not isinstance(stream, (GzipReader, bz2.BZ2File, Unpacked)):
        return
    behind = 0
    try:
        while part := stream.read(STEP):
            behind += len(part)
            if behind > MOST_BEHIND:
                raise UserError(path, "far more data follows its voxels than its header speaks of", "check that it is one scan")
    except gzip.BadGzipFile as error:
        # what follows a stream that was whole, its checksum compared, is not its damage
        if "Not a gzipped file" not in str(error):
            raise
