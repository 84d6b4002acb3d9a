"""Unpacking of gzip: by isal where it is installed, in about a third of the time, otherwise by the standard library."""

from __future__ import annotations

import gzip
import io
import zlib
from types import ModuleType
from typing import Any, BinaryIO

library: ModuleType
try:
    from isal import isal_zlib

    library = isal_zlib
except ImportError:  # a machine without it, such as an environment made for another bundle
    library = zlib

STEP = 1 << 20
# isal's error is an Exception of its own
errors: tuple[type[Exception], ...] = (zlib.error, library.error)


def unpacker() -> Any:
    """What unpacks one gzip stream, with its header and checksum, as `zlib.decompressobj(31)` does."""
    return library.decompressobj(31)


class GzipReader(io.BufferedIOBase):
    """The content of a gzip file of one or more streams, from its beginning to its end.

    isal's own `IGzipFile` looks at what follows a stream before it gives the last bytes of it. Where that is no gzip, as behind some
    exports, they would be lost.

    Args:
        file: the packed file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpacker, self._packed = file, unpacker(), b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes, all that is left where it is negative; empty at the end.

        Raises:
            EOFError: the file ends within a stream.
            gzip.BadGzipFile: what follows a whole stream is neither another one nor zeros. All of the stream was given by then.
            zlib.error, or an error of isal's: a stream is damaged, or its checksum is another.
        """
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(STEP), b""))
        while size > 0:
            if self._unpacker.eof and not self._next():
                return b""
            packed = self._packed or self._file.read(STEP)
            part = self._unpacker.decompress(packed, size)
            self._packed = self._unpacker.unconsumed_tail
            if part:
                return part
            if not packed and not self._unpacker.eof:
                raise EOFError("the file ends before the end of its gzip stream")
        return b""

    def _next(self) -> bool:
        """Go on to the next stream, past zeros; False at the end of the file."""
        packed = self._unpacker.unused_data.lstrip(b"\0")
        while not packed:
            read = self._file.read(STEP)
            if not read:
                return False
            packed = read.lstrip(b"\0")
        packed += self._file.read(1) if len(packed) == 1 else b""
        if packed[:2] != b"\x1f\x8b":
            raise gzip.BadGzipFile(f"Not a gzipped file ({packed[:2]!r})")
        self._unpacker, self._packed = unpacker(), packed
        return True
