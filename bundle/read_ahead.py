"""The first scan of a run is unpacked while MONAI is imported, which takes longer and leaves the other cores idle.

Of what is installed only isal is imported here. Which scan comes first is a guess by names: where it is wrong, the bytes are dropped as
soon as the voxels of another scan are asked for. What is read is checked like any file afterwards; what is odd about it is left to the
ordinary reader, and its messages.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping, Sequence

from bundle import inflate
from bundle.arguments.command_line import split

ENDING = ".nii.gz"
STEP = 4 << 20
# files and folders that are looked at for the first scan
MOST_ENTRIES = 2000
# GB that a run may take by default, and the share of it that may be held ahead
MEMORY_GB, SHARE = 3.5, 8
_UNREADABLE: tuple[type[Exception], ...] = (OSError, MemoryError, *inflate.errors)
_ahead: _Unpacking | None = None


class Unpacked(io.BytesIO):
    """What was in a packed file, its checksum compared."""


class _Unpacking(threading.Thread):
    """Unpacks one gzip file into memory; `content` is None where it is larger than `most` or not one whole gzip stream."""

    def __init__(self, path: str, most: float) -> None:
        super().__init__(name="read ahead", daemon=True)
        self.path, self.most, self.stamp = os.path.realpath(path), most, _stamp(path)
        self.content: Unpacked | None = None
        self.dropped = False

    def run(self) -> None:
        found = Unpacked()
        # takes gzip's header, and compares its checksum
        unpacker = inflate.unpacker()
        try:
            with open(self.path, "rb", buffering=0) as file:
                # pieces so large that the thread seldom has to wait for Python's lock, which imports hold
                while not unpacker.eof and not self.dropped and found.tell() <= self.most and (part := file.read(STEP)):
                    found.write(unpacker.decompress(part))
                rest = unpacker.unused_data or file.read(1)
        except _UNREADABLE:
            return
        if unpacker.eof and not rest and found.tell() <= self.most:
            found.seek(0)
            self.content = found


def begin(words: Sequence[str]) -> None:
    """Begin to unpack the scan that a run is likely to begin with.

    Args:
        words: those after `python -m bundle run`; only of inference that begins anew.
    """
    global _ahead
    values, others = split(list(words))
    folder = values.get("dataset_dir")
    if (values.get("run_id") or next(iter(others), None)) != "inference" or not folder or _is_on("watch", values):
        return
    output = values.get("output_dir")
    if output and os.path.isdir(os.path.join(os.path.expanduser(output), ".records")) and not _is_on("overwrite", values):
        return  # what is finished is not read again
    path = first_scan(os.path.expanduser(folder))
    try:
        most = float(values.get("memory_gb") or MEMORY_GB) * 1e9 / SHARE
        fits = path is not None and os.path.getsize(path) <= most
    except (OSError, ValueError):
        return
    if path is not None and fits:
        _ahead = _Unpacking(path, most)
        _ahead.start()


def stream(path: str | os.PathLike) -> Unpacked | None:
    """The unpacked bytes of a file, if it is the one that was read ahead and has not changed; they are given once, and not kept."""
    global _ahead
    ahead, _ahead = _ahead, None
    if ahead is None:
        return None
    if ahead.path != os.path.realpath(path) or ahead.stamp is None or ahead.stamp != _stamp(path):
        ahead.dropped = True
        return None
    ahead.join()
    return ahead.content


def first_scan(path: str) -> str | None:
    """The first file by its path that looks like a packed NIfTI; None where there is none among the first entries."""
    if os.path.isfile(path):
        return path if path.lower().endswith(ENDING) else None
    todo, seen, first = [path], 0, None
    while todo and seen < MOST_ENTRIES:
        try:
            entries = list(os.scandir(todo.pop()))
        except OSError:
            continue
        seen += len(entries)
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                todo.append(entry.path)
            elif entry.name.lower().endswith(ENDING) and entry.is_file() and (first is None or entry.path < first):
                first = entry.path
    return first


def _is_on(key: str, values: Mapping[str, str | None]) -> bool:
    return key in values and str(values[key]).lower() not in ("false", "0")


def _stamp(path: str | os.PathLike) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
