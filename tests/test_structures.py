"""The table of structures: names that people write, colours of the pictures, codes that DICOM knows."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from bundle.drawing import drawing
from bundle.errors import UserError
from bundle.structures import CATEGORIES, PALETTE, SIDES, TABLE, Code, describe, own_codes, own_colours

BTCV = (
    "spleen,rkid,lkid,gallbladder,esophagus,liver,stomach,aorta,inferior vena cava,portal vein and splenic vein,pancreas,"
    "right adrenal gland,left adrenal gland"
).split(",")


def codes() -> dict[str, tuple[str, list[int]]]:
    """SNOMED CT codes that DICOM PS3.16 uses, as pydicom has them: code to meaning and context groups."""
    from pydicom.sr._concepts_dict import concepts

    return {code: (meaning, groups) for entry in concepts["SCT"].values() for code, (meaning, groups) in entry.items()}


def test_labels_of_the_bundle_keep_the_colours_of_its_pictures() -> None:
    found = describe(["pancreas", "spleen", "kidney"])
    assert [one.colour for one in found] == [(255, 176, 32), (88, 196, 255), (110, 230, 110)] == list(drawing.COLOURS[:3])
    assert [one.type.value for one in found] == ["15776009", "78961009", "64033007"]


def test_names_as_people_write_them_are_one_structure() -> None:
    names = ["kidney_right", "Right Kidney", "kidney-right", "rkid"]
    assert {(one.type.value, one.side) for one in describe(names)} == {("64033007", Code("24028007", "Right"))}
    assert [one.name for one in describe(names)] == names, "and each keeps its name"
    assert describe(["Leber"])[0].known is False and describe(["oesophagus"])[0].type.value == "32849002"


def test_organs_of_btcv_differ_in_colour_and_all_are_known() -> None:
    found = describe(BTCV)
    assert all(one.known for one in found) and len({one.colour for one in found}) == 13


def test_unknown_structures_take_colours_that_are_left() -> None:
    found = describe(["pancreas", "thing", "other thing"])
    assert [one.colour for one in found] == [PALETTE[0], PALETTE[1], PALETTE[2]] and found[1].type == CATEGORIES["tissue"]


def test_codes_are_those_of_dicom() -> None:
    known = codes()
    for code in CATEGORIES.values():
        assert 7150 in known[code.value][1], f"{code} is not a category of CID 7150"
    assert all(244 in known[code.value][1] for code in SIDES.values())
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # in none of pydicom's context groups; codes of TotalSegmentator's table
    others = {"110765007", "68455001", "244849004", "67769002"}
    assert {row["code"] for row in rows} - set(known) == others
    for row in rows:
        first = row["meaning"].split()[0].lower()[:4]
        # e.g. "Pancreas" of "Pancreatic structure (body structure)"; celiac is coeliacus, a neoplasm a tumor, a hip a hip region
        said = known.get(row["code"], (row["meaning"], []))[0].lower()
        assert first in said or first in ("celi", "neop"), f"{row['name']}: {row['code']} is {said}"


def test_users_add_and_change_structures(tmp_path: Path) -> None:
    block = {
        "Leber": {"same_as": "liver", "colour": [1, 2, 3]},
        "thing": {"code": "X1", "scheme": "99LAB", "meaning": "Thing", "category": "object", "side": "left"},
    }
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"structures": block}), encoding="utf-8")
    for own in (block, str(path)):
        liver, thing, spleen = describe(["Leber", "thing", "spleen"], own)
        assert (liver.colour, liver.type.value, liver.name) == ((1, 2, 3), "10200004", "Leber")
        assert (thing.type, thing.category, thing.side) == (Code("X1", "Thing", "99LAB"), CATEGORIES["object"], SIDES["left"])
        assert spleen.colour == (88, 196, 255)


def test_what_a_block_makes_other_than_the_table() -> None:
    names = ["pancreas", "spleen"]
    assert own_colours(names) is own_colours(names, {"liver": {"colour": [1, 2, 3]}}) is own_codes(names, {"spleen": {"colour": [1, 2, 3]}})
    assert own_colours(names) is None and own_codes(names, {"spleen": {"code": "78961009", "meaning": "Spleen"}}) is None
    # the other is as the table has it
    said = hashlib.sha256(b"[[255, 176, 32], [1, 2, 3]]").hexdigest()
    assert own_colours(names, {"spleen": {"colour": [1, 2, 3]}}) == said
    changed = [
        {"spleen": {"side": "left"}},
        {"spleen": {"category": "tissue"}},
        {"spleen": {"code": "1"}},
        {"spleen": {"region": "2", "region_meaning": "x"}},
    ]
    assert len({own_codes(names, block) for block in changed} - {None}) == 4


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (3, "a number"),
        ({"a": 3}, "a number"),
        ({"a": {"color": [1, 2, 3]}}, "'color', which is not known"),
        ({"a": {"colour": [1, 2]}}, "[1, 2]"),
        ({"a": {"colour": [1, 2, 256]}}, "256"),
        ({"a": {"colour": [True, 2, 3]}}, "True"),
        ({"a": {"side": "middle"}}, "middle"),
        ({"a": {"same_as": "nothing"}}, "nothing"),
        ({"a": {"code": "12345678901234567"}}, "12345678901234567"),
        ({"a": {"region": "1"}}, "region"),
    ],
)
def test_mistakes_are_one_line(block: object, words: str) -> None:
    with pytest.raises(UserError) as error:
        describe(["a"], block)
    assert words in str(error.value) and "\n" not in str(error.value)
