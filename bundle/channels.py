"""The `channels` block at the top of each config: which images of a patient the network sees at once, and what each of them holds.

`[{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]` means: channel 0 of the network is a CT, channel 1 a PET. None is
one CT. The first is a CT: the others are resampled to its grid, the body is found in it, and label maps are written on its grid.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bundle.errors import UserError, counted
from bundle.json_input import read_object

# kind: what its values are; the words by which names of files and folders say that they are of it
KINDS: dict[str, tuple[str, frozenset[str]]] = {
    "ct": ("HU", frozenset({"ct", "cta", "ctres"})),
    "pet": ("SUV, body weight", frozenset({"pet", "pt", "suv"})),
    "mr": ("MR, without a unit", frozenset({"mr", "mri"})),
    "plain": ("any numbers, taken as they are", frozenset()),
}
SUV_RANGE = (0.0, 20.0)
EXAMPLE = '[{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]'
Block = Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Channel:
    """One image of a case: its name, its kind (a key of `KINDS`), and for a PET the range that its SUV is clipped to."""

    name: str
    kind: str
    range: tuple[float, float] = SUV_RANGE

    @property
    def words(self) -> frozenset[str]:
        """By which names of files and folders say that they are of this channel, in small letters."""
        return KINDS[self.kind][1] | frozenset(re.split(r"[\W_]+", self.name.lower())) - {""}


CT = Channel("ct", "ct")


def channels_of(block: Block) -> tuple[Channel, ...]:
    """The channels that a block names, in their order; one CT where there is no block.

    Raises:
        UserError: it is not a list of names and kinds, a name is there twice, or the first is no CT.
    """
    if block is None:
        return (CT,)
    if isinstance(block, (str, Mapping)) or not isinstance(block, Sequence) or not block:
        raise UserError("channels", f"its value is {str(block)[:60]!r}, not a list of names and kinds", f"write {EXAMPLE}")
    found = tuple(map(_channel, block))
    names = [channel.name for channel in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("channels", f"the name {twice[0]} is there twice", "give each channel a name of its own")
    if found[0].kind != "ct":
        problem = f"the first one, {found[0].name}, is of the kind {found[0].kind}; grid, body and label maps are those of a CT"
        raise UserError("channels", problem, "put the CT first")
    return found


def resolve(channels: Block | str | os.PathLike) -> Block:
    """The block that is given, or the one in a JSON file: a config or an overlay with `channels` in it.

    Raises:
        UserError: the file cannot be read or has no channels, or the block is not right.
    """
    block: Any = channels
    if isinstance(channels, (str, os.PathLike)):
        content = read_object(channels, f'{{"channels": {EXAMPLE}}}')
        if "channels" not in content:
            raise UserError(channels, "it has no channels", f'write {{"channels": {EXAMPLE}}}')
        block = content["channels"]
    channels_of(block)
    return block


def further(block: Block) -> tuple[Channel, ...]:
    """The channels behind the first."""
    return channels_of(block)[1:]


def count(block: Block) -> int:
    """How many channels there are: the network's `in_channels`."""
    return len(channels_of(block))


def told(block: Block) -> str:
    """The channels as messages say them: `2 channels (ct, pet)`."""
    names = [channel.name for channel in channels_of(block)]
    return f"{counted(len(names), 'channel')} ({', '.join(names)})"


def _channel(entry: Any) -> Channel:
    if not isinstance(entry, Mapping) or not set(entry) <= {"name", "kind", "range"} or "name" not in entry or "kind" not in entry:
        raise UserError("channels", f"{str(entry)[:60]} is not a channel with name and kind", f"write {EXAMPLE}")
    name, kind = entry["name"], entry["kind"]
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UserError("channels", f"the name {name!r} is not a letter with letters, numbers and _ behind it", "write one such as pet")
    if kind not in KINDS:
        raise UserError("channels", f"{kind!r} is not a kind", f"use one of {', '.join(KINDS)}")
    if "range" not in entry:
        return Channel(name, kind)
    if kind != "pet":
        raise UserError("channels", f"{name} has a range, which only a PET has", "leave it out; that of a CT is hu_range")
    span = entry["range"]
    numbers = isinstance(span, (list, tuple)) and len(span) == 2 and all(type(end) in (int, float) for end in span)
    if not numbers or not span[0] < span[1]:
        raise UserError("channels", f"the range of {name} is {str(span)[:40]}", "write two numbers, the lower one first, such as [0, 20]")
    return Channel(name, kind, (float(span[0]), float(span[1])))
