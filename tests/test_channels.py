"""The `channels` block: names and kinds, and mistakes in one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.channels import Channel, channels_of, count, further, resolve, told
from bundle.errors import UserError

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


def test_channels_of_a_block() -> None:
    assert channels_of(None) == (Channel("ct", "ct"),) and count(None) == 1 and further(None) == ()
    assert [(one.name, one.kind, one.range) for one in channels_of(BLOCK)] == [("ct", "ct", (0, 20)), ("pet", "pet", (0, 20))]
    assert count(BLOCK) == 2 and told(BLOCK) == "2 channels (ct, pet)" and told(None) == "1 channel (ct)"
    assert further([*BLOCK, {"name": "late", "kind": "pet", "range": [0, 10]}])[1].range == (0, 10)
    assert Channel("fdg_late", "pet").words == {"pet", "pt", "suv", "fdg", "late"}


def test_a_block_or_a_file_that_has_one(tmp_path: Path) -> None:
    file = tmp_path / "pet.json"
    file.write_text(json.dumps({"channels": BLOCK, "spacing": [4, 4, 4]}))
    assert resolve(str(file)) == resolve(BLOCK) == BLOCK and resolve(None) is None
    with pytest.raises(UserError, match="the first one, pet"):
        resolve(BLOCK[::-1])
    file.write_text("{}")
    with pytest.raises(UserError, match=r'pet\.json: it has no channels. Fix: write {"channels": '):
        resolve(file)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("ct,pet", "its value is 'ct,pet', not a list"),
        ([], "not a list of names and kinds"),
        ([{"name": "ct"}], "is not a channel with name and kind"),
        ([{"name": "ct", "kind": "ct", "suv": 1}], "is not a channel"),
        ([{"name": "ct", "kind": "cbct"}], "'cbct' is not a kind. Fix: use one of ct, pet, mr, plain"),
        ([{"name": "c t", "kind": "ct"}], "the name 'c t' is not"),
        (BLOCK[::-1], "the first one, pet, is of the kind pet.* Fix: put the CT first"),
        ([BLOCK[0], BLOCK[0]], "the name ct is there twice"),
        ([{**BLOCK[0], "range": [0, 1]}], "ct has a range, which only a PET has"),
        ([BLOCK[0], {**BLOCK[1], "range": [5, 5]}], r"the range of pet is \[5, 5\]"),
    ],
)
def test_mistakes_are_one_line(block: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        channels_of(block)
