"""Which structure is what: its colour and its SNOMED CT code, one table for pictures, tables of names and DICOM.

`structures.csv` is the table: the labels of the bundle, the 13 organs of BTCV, what TotalSegmentator and other sets segment in the
abdomen, tumours and cysts. Users add theirs by the key `structures` of `inference.json`. Codes are those of DICOM PS3.16, CID 7150
(category), 7151 (type) and 244 (side).
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bundle.errors import UserError
from bundle.json_input import kind, read_object

Colour = tuple[int, int, int]

# for structures that the table does not know, in this order, but for those that are taken; distinct on grey also for the
# colour-blind: neighbours differ in brightness as well as in hue
PALETTE: tuple[Colour, ...] = (
    (255, 176, 32),
    (88, 196, 255),
    (110, 230, 110),
    (255, 120, 200),
    (250, 240, 90),
    (178, 140, 255),
    (255, 104, 84),
    (60, 220, 200),
    (214, 168, 120),
    (150, 180, 255),
    (190, 220, 60),
    (255, 160, 160),
    (0, 170, 255),
    (230, 230, 230),
)
TABLE = Path(__file__).with_suffix(".csv")
EXAMPLE = '{"cyst of the spleen": {"colour": [0, 240, 255], "category": "abnormal", "code": "367643001", "meaning": "Cyst"}}'
KEYS = ("same_as", "colour", "category", "code", "meaning", "scheme", "side", "region", "region_meaning")


class Code(NamedTuple):
    """A concept of a coding scheme; SCT is SNOMED CT."""

    value: str
    meaning: str
    scheme: str = "SCT"


CATEGORIES = {
    "structure": Code("91723000", "Anatomical Structure"),
    "tissue": Code("85756007", "Tissue"),
    "abnormal": Code("49755003", "Morphologically Abnormal Structure"),
    "substance": Code("91720002", "Body Substance"),
    "object": Code("260787004", "Physical object"),
}
SIDES = {"left": Code("7771000", "Left"), "right": Code("24028007", "Right")}


@dataclass(frozen=True)
class Structure:
    """A structure: its name in the labels, colour (red, green, blue) and what it is; `known` is False where nobody said that."""

    name: str
    colour: Colour
    category: Code = CATEGORIES["tissue"]
    type: Code = CATEGORIES["tissue"]
    side: Code | None = None
    region: Code | None = None
    known: bool = True

    @property
    def words(self) -> str:
        """All of its text: its name, and the meanings of its codes."""
        codes = (self.category, self.type, self.side, self.region)
        return " ".join([self.name, *(code.meaning for code in codes if code is not None)])


def describe(names: Sequence[str], own: Mapping[str, Any] | str | os.PathLike | None = None) -> list[Structure]:
    """Each of these structures, in this order: what the user says of it, else the table; what neither knows is a tissue.

    Letters, `_`, `-` and the order of words do not matter: `kidney_right` is `Right Kidney`.

    Args:
        names: as in the `labels` block, without the background.
        own: a block, name to `colour`, `category` (structure, tissue, abnormal, substance, object), `code`, `meaning`, `scheme`
            (SCT), `side` (left, right), `region` and `region_meaning`, or `same_as` (a name of the table); or a JSON file with one.

    Raises:
        UserError: the block cannot be used.
    """
    table, said = _table(), _own(own)
    taken = {table[key(name)].colour for name in names if key(name) in table}
    free = [colour for colour in PALETTE if colour not in taken] or list(PALETTE)
    unknown = [name for name in names if key(name) not in table]
    found = []
    for name in names:
        known = table.get(key(name)) or Structure(name, free[unknown.index(name) % len(free)], known=False)
        found.append(replace(_with(known, name, said[key(name)]) if key(name) in said else known, name=name))
    return found


def colours(names: Sequence[str], own: Mapping[str, Any] | str | os.PathLike | None = None) -> dict[str, Colour]:
    """The colour of each of these structures, as in every picture and file; the arguments are those of `describe`."""
    return {structure.name: structure.colour for structure in describe(names, own)}


def own_colours(names: Sequence[str], own: Mapping[str, Any] | str | os.PathLike | None = None) -> str | None:
    """SHA-256 of the colours that a user's block gives to these structures; None where they are those of the table.

    The arguments are those of `describe`.
    """
    return _digest(*([structure.colour for structure in describe(names, said)] for said in (own, None)))


def own_codes(names: Sequence[str], own: Mapping[str, Any] | str | os.PathLike | None = None) -> str | None:
    """SHA-256 of the codes that a user's block gives to these structures; None where they are those of the table.

    The arguments are those of `describe`.
    """
    found = ([[one.category, one.type, one.side, one.region] for one in describe(names, said)] for said in (own, None))
    return _digest(*found)


def _digest(found: Any, usual: Any) -> str | None:
    return None if found == usual else hashlib.sha256(json.dumps(found).encode()).hexdigest()


def key(name: str) -> str:
    """A name without what does not matter: `Right_Kidney` and `kidney right` are one."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.casefold()).split()
    return " ".join(sorted(word for word in words if word not in ("the", "of")))


@cache
def _table() -> dict[str, Structure]:
    """The structures of `structures.csv` by the keys of their names."""
    found = {}
    with open(TABLE, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            red, green, blue = (int(value) for value in row["colour"].split())
            structure = Structure(
                row["name"],
                (red, green, blue),
                CATEGORIES[row["category"]],
                Code(row["code"], row["meaning"]),
                SIDES.get(row["side"]),
                Code(row["region"], row["region meaning"]) if row["region"] else None,
            )
            for name in (row["name"], *filter(None, row["also"].split(";"))):
                found[key(name)] = structure
    return found


def _own(own: Mapping[str, Any] | str | os.PathLike | None) -> dict[str, Mapping[str, Any]]:
    """The user's block by keys of names, checked as far as it concerns its form."""
    if own is None or own == "":
        return {}
    where: str | os.PathLike = "structures"
    if isinstance(own, (str, os.PathLike)):
        where, content = own, read_object(own, EXAMPLE)
        own = content.get("structures", content)
    if not isinstance(own, Mapping):
        raise UserError(where, f"is {kind(own)}, not a block of names", f"write {EXAMPLE}")
    for name, entry in own.items():
        if not isinstance(entry, Mapping):
            raise UserError(where, f"'{name}' is {kind(entry)}, not a block", f"write {EXAMPLE}")
        unknown = sorted(set(entry) - set(KEYS))
        if unknown:
            raise UserError(where, f"'{name}' has '{unknown[0]}', which is not known", f"use {', '.join(KEYS)}")
    return {key(str(name)): {**entry, "where": where} for name, entry in own.items()}


def _with(known: Structure, name: str, said: Mapping[str, Any]) -> Structure:
    """A structure with what the user says of it."""
    where = said["where"]
    if "same_as" in said:
        if key(str(said["same_as"])) not in _table():
            raise UserError(where, f"'{name}' is said to be the same as '{said['same_as']}', which is not known", f"see {TABLE.name}")
        known = _table()[key(str(said["same_as"]))]
    changes: dict[str, Any] = {}
    if "colour" in said:
        changes["colour"] = _colour(said["colour"], name, where)
    for word, choices in (("category", CATEGORIES), ("side", SIDES)):
        if word in said:
            if said[word] not in choices:
                raise UserError(where, f"'{name}' has the {word} '{said[word]}'", f"use {', '.join(choices)}")
            changes[word] = choices[said[word]]
    scheme = str(said.get("scheme", "SCT"))
    if "code" in said:
        changes |= {"type": _code(said, "code", "meaning", name, scheme), "known": True}
        changes.setdefault("category", CATEGORIES["structure"] if not known.known else known.category)
    if "region" in said:
        changes["region"] = _code(said, "region", "region_meaning", name, scheme)
    return replace(known, **changes)


def _colour(value: Any, name: str, where: str | os.PathLike) -> Colour:
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(type(one) is int and 0 <= one <= 255 for one in value):
        raise UserError(where, f"'{name}' has the colour {value!r}", "give red, green and blue from 0 to 255: [255, 176, 32]")
    return tuple(value)


def _code(said: Mapping[str, Any], code: str, meaning: str, name: str, scheme: str) -> Code:
    """A code with its meaning, which DICOM wants with it; 16 and 64 letters are DICOM's limits."""
    value, words = str(said[code]), str(said.get(meaning, name if code == "code" else ""))
    if not value or len(value) > 16 or not words or len(words) > 64 or not scheme or len(scheme) > 16:
        fix = f"give {code} (at most 16 letters), {meaning} (at most 64) and scheme (at most 16)"
        raise UserError(said["where"], f"'{name}' has the {code} {value!r} with the meaning {words!r} of scheme {scheme!r}", fix)
    return Code(value, words, scheme)
