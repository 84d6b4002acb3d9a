"""Scans in a zip file, as archives and CDs are exported: unpacked to a temporary folder, which goes when the process ends."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from bundle.errors import UserError, counted

CHUNK = 1 << 20
# of the room on the disk, at most so much is taken
SHARE_OF_DISK = 0.8
MOST_FILES = 1_000_000
ENCRYPTED = 1  # flag of an entry


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a path is a file that is called a zip file."""
    return str(path).lower().endswith(".zip") and os.path.isfile(path)


def unpacked(path: str | os.PathLike) -> Path:
    """A folder with what is in a zip file; it is called as the file is, and is removed when the process ends.

    Nothing is written outside the folder, links are left out, and no more than the file says that it holds, which must have room
    on the disk of temporary files (`TMPDIR`).

    Raises:
        UserError: it is damaged, encrypted, names a place outside itself, or holds more than there is room for.
    """
    holder = Path(tempfile.mkdtemp(prefix="bundle-zip-"))
    atexit.register(shutil.rmtree, holder, ignore_errors=True)
    folder = holder / (Path(path).stem or "scans")
    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_link(entry)]
            _check(path, entries, shutil.disk_usage(holder).free)
            for entry in entries:
                _unpack(archive, entry, folder / _inner(path, entry))
    except UserError:
        shutil.rmtree(holder, ignore_errors=True)
        raise
    except Exception as error:  # the decompressors' own errors share no base class
        shutil.rmtree(holder, ignore_errors=True)
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(path, f"it cannot be unpacked ({reason})", "copy or export it again, or unpack it yourself") from error
    return folder


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _check(path: str | os.PathLike, entries: list[zipfile.ZipInfo], free: int) -> None:
    """Refuse what is encrypted, or has no room."""
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise UserError(path, "it is encrypted", "unpack it yourself, and give the folder")
    total = sum(entry.file_size for entry in entries)
    if total > SHARE_OF_DISK * free or len(entries) > MOST_FILES:
        problem = f"it holds {counted(len(entries), 'file')} of {total / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free for temporary files"
        raise UserError(path, problem, "make room, set TMPDIR to a folder with more, or unpack it yourself")


def _inner(path: str | os.PathLike, entry: zipfile.ZipInfo) -> Path:
    """Where an entry goes within the folder; Windows' separators are taken as such."""
    inner = PurePosixPath(entry.filename.replace("\\", "/"))
    if inner.is_absolute() or ".." in inner.parts or not inner.parts or (len(inner.parts[0]) == 2 and inner.parts[0][1] == ":"):
        raise UserError(path, f"it names a file outside the archive ({entry.filename[:100]!r})", "do not unpack it: it was made to do harm")
    return Path(*inner.parts)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Write one entry, and not a byte more than it says that it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as packed, open(target, "xb") as file:
        while block := packed.read(CHUNK):
            written += len(block)
            if written > entry.file_size:
                raise zipfile.BadZipFile(f"{entry.filename[:100]!r} is longer than it says")
            file.write(block)
