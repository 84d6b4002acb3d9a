"""Names of cases: where a scan is below the folder that was asked for, as a file name that every system takes.

A name depends on the scan's own place only, never on what else is in the folder, so that runs over parts of a folder agree.
"""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# bytes: file systems take 255, outputs add up to "_attention_level2.nii.gz" and unfinished files a process and their mark
LONGEST = 180


class Place(NamedTuple):
    """Where a scan is: folders below the one asked for, and its own stem; `rank` says who keeps a name that two would have."""

    parts: tuple[str, ...]
    rank: int = 0
    path: str = ""


def case_name(parts: Sequence[str]) -> str:
    """Folders and stem joined by `_`, with `_` for what is troublesome in file names; shortened with a digest where too long."""
    name = "_".join(_clean(part) for part in parts).strip(".") if parts else ""
    if not any(character.isalnum() for character in name):
        name = f"scan_{digest(parts)}" if any(parts) else "scan"
    return _shortened(name, parts)


def names_apart(places: Iterable[Place]) -> list[str]:
    """A name for each place, no two alike; compared without case, as some file systems do.

    Of places with one name the first by `rank`, then by path, keeps it; the others get six digits of a digest of their path.
    """
    places = list(places)
    names: dict[int, str] = {}
    taken: set[str] = set()
    for index in sorted(range(len(places)), key=lambda i: (places[i].rank, places[i].parts, places[i].path)):
        place = places[index]
        name, length = case_name(place.parts), 6
        while _folded(name) in taken:
            own = digest((*place.parts, place.path), length)
            name, length = f"{_shortened(case_name(place.parts), place.parts, len(own) + 1)}_{own}", length + 2
        taken.add(_folded(name))
        names[index] = name
    return [names[index] for index in range(len(places))]


def digest(parts: Sequence[str], length: int = 6) -> str:
    """The first hexadecimal digits of the SHA-256 of some text: of the bytes on disk where it is a file name, in any locale."""
    text = "/".join(parts)
    try:
        found = os.fsencode(text)
    except UnicodeEncodeError:
        found = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(found).hexdigest()[:length]


def _clean(part: str) -> str:
    return "".join(character if _good(character) else "_" for character in unicodedata.normalize("NFC", part))


def _good(character: str) -> bool:
    """Letters, marks and numbers of every script that this system's file names can hold, and a few signs."""
    if character.isascii():
        return character.isalnum() or character in "-_.+"
    return unicodedata.category(character)[0] in "LMN" and _encodable(character)


def _encodable(character: str) -> bool:
    try:
        character.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return False
    return True


def _shortened(name: str, parts: Sequence[str], room: int = 0) -> str:
    """At most `LONGEST - room` bytes: a digest of the whole takes the place of what is cut off."""
    if len(os.fsencode(name)) <= LONGEST - room:
        return name
    kept = name.encode("utf-8", "ignore")[: LONGEST - room - 9].decode("utf-8", "ignore")
    return f"{kept}_{digest(parts, 8)}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
