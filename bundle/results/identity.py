"""Whether a scan is the one it was: a cheap stamp of its files, and a digest of their bytes."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
# where the header of a volume says that its voxels are in other files
DETACHED = re.compile(rb"(?im)^\s*(?:ElementDataFile\s*=|data ?file\s*:(?!=))\s*(.*?)\s*$")
HEADER_BYTES = 1 << 16


def source_of(item: Mapping[str, Any]) -> str:
    """The absolute path of a scan's file or DICOM folder."""
    return os.path.abspath(str(item["source"]))


def files_of(item: Mapping[str, Any]) -> list[str]:
    """Every file that a scan's voxels and geometry come from: slices, or a header with the files that it names; and those of its
    further channels."""
    return [file for files in _by_channel(item).values() for file in files]


def _by_channel(item: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of each channel by its name; the first has none."""
    return {name: _files_of(channel) for name, channel in {"": item["image"], **(item.get("channels") or {})}.items()}


def _files_of(image: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    files = [str(image)] if isinstance(image, (str, os.PathLike)) else [str(file) for file in image]
    if len(files) == 1 and os.path.isdir(files[0]):
        return sorted(entry.path for entry in os.scandir(files[0]) if entry.is_file())
    return files + companions(Path(files[0])) if len(files) == 1 else files


def stamp(files: Sequence[str], *, written: bool = False) -> str:
    """A short text that changes when size, times or inode of any of the files change, or one is missing: costs no reading.

    Args:
        files: paths.
        written: size and time of writing alone: others change with permissions and links, and where a network drive numbers anew.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            s = os.stat(file)
            found = (s.st_size, s.st_mtime_ns, *(() if written else (s.st_ctime_ns, s.st_ino)))
        except OSError:
            found = None
        digest.update(os.fsencode(f"{os.path.basename(file)}\0{found}\0"))
    return digest.hexdigest()[:32]


def as_written(item: Mapping[str, Any]) -> str | None:
    """`stamp` of a scan's files, of what changes when one is written; None where they cannot be asked."""
    with suppress(OSError):
        return stamp(files_of(item), written=True)
    return None


def size(files: Sequence[str]) -> int:
    """Bytes of all files together; -1 where one cannot be asked."""
    try:
        return sum(os.stat(file).st_size for file in files)
    except OSError:
        return -1


def scan_digest(item: Mapping[str, Any]) -> str:
    """SHA-256 of a scan's bytes: `content_digest` of its files; of several channels, the SHA-256 of lines with the name and the digest of
    each, since the same files as other channels are another scan.

    Raises:
        OSError: a file cannot be read.
    """
    digests = {name: content_digest(files) for name, files in _by_channel(item).items()}
    if len(digests) == 1:
        return digests[""]
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def content_digest(files: Sequence[str]) -> str:
    """SHA-256 of the bytes of one channel, wherever its files are and whatever their names: `sha256sum` of a single file; of several, the
    SHA-256 of their sorted digests, each on a line.

    Raises:
        OSError: a file cannot be read.
    """
    digests = [file_digest(file) for file in files]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{one}\n" for one in sorted(digests)).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with open(path, "rb", buffering=0) as file:
        while read := file.readinto(buffer):
            digest.update(buffer[:read])
    return digest.hexdigest()


def companions(path: Path) -> list[str]:
    """The files beside a volume's own that hold its voxels, as its header names them: of a pair, an .mhd or .nhdr and the like."""
    name = path.name.lower()
    if name.endswith((".hdr", ".hdr.gz")):
        stem = name[: name.rindex(".hdr")]
        with suppress(OSError):
            return sorted(str(p) for p in path.parent.iterdir() if p.name.lower() in (f"{stem}.img", f"{stem}.img.gz"))
        return []
    # readers go by what the header says, and not by the ending
    if not name.endswith((".mhd", ".mha", ".nhdr", ".nrrd")):
        return []
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError:
        return []
    if name.endswith("nrrd"):  # what follows the blank line may be voxels
        header = re.split(rb"\r?\n\r?\n", header, maxsplit=1)[0]
    found = DETACHED.search(header)
    if not found or found[1].upper() == b"LOCAL":
        return []
    if found[1].upper().startswith(b"LIST"):
        names = [os.fsdecode(line.strip()) for line in header[found.end() :].splitlines() if line.strip()]
    elif b"%" in found[1]:
        pieces = re.split(r"%\d*d", os.fsdecode(found[1].split()[0]))
        return sorted(glob.glob(os.path.join(glob.escape(str(path.parent)), "*".join(map(glob.escape, pieces)))))
    else:
        names = [os.fsdecode(found[1])]
    return [str(path.parent / name) for name in names]
