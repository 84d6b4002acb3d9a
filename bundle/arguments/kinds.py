"""What a value may be: kinds of numbers, words, ranges and blocks, each saying what would be right where something is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from bundle.errors import UserError

# takes a value, gives it as the key needs it, or raises `Wrong` with what would be right
Kind = Callable[[Any], Any]


# edges of voxels in mm that CT is segmented at: below, no memory holds a scan; above, an organ is less than a voxel or two
SPACING_MM = 0.1, 20.0
# far beyond any CT, also of metal
MOST_HU = 1e5
# voxels along an edge of a patch, and threads or processes: more of them is a slip of the keyboard
MOST_VOXELS, MOST_THREADS = 4096, 1024
# a tenth of a patch is the smallest step of the window: with less, a scan would take days
MOST_OVERLAP = 0.9
# one step of a larger one makes any weights useless
MOST_RATE = 10.0


class Wrong(Exception):
    """A value that a key cannot have; the text says what it can be."""


def whole(least: int | None = None, optional: bool = False, most: int | None = None) -> Kind:
    """A whole number, from `least` on and up to `most`; None where `optional`."""
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    bounds = "" if least is None else f" from {least} up" + ("" if most is None else f" to {most}")
    wanted = "a whole number" + bounds + (", or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(wanted)
        return value

    return kind


def number(
    above: float = -math.inf, least: float = -math.inf, below: float = math.inf, most: float = math.inf, optional: bool = False
) -> Kind:
    """A finite number between bounds; None where `optional`."""
    bounds = [
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"from {least:g}"] if least > -math.inf else []),
        *([f"below {below:g}"] if below < math.inf else []),
        *([f"up to {most:g}"] if most < math.inf else []),
    ]
    wanted = " ".join(["a number", *bounds]) + (", or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not (above < value < below and least <= value <= most):
            raise Wrong(wanted)
        return value

    return kind


def several(one: Kind, count: int | None, what: str) -> Kind:
    """`count` values of a kind (None: one or more)."""

    def kind(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or (len(value) != count if count else not value):
            raise Wrong(what)
        try:
            return [one(item) for item in value]
        except Wrong:
            raise Wrong(what) from None

    return kind


def one_of(*choices: Any) -> Kind:
    """One of some words."""

    def kind(value: Any) -> Any:
        if value not in choices:
            raise Wrong("one of " + ", ".join(map(str, choices)))
        return value

    return kind


def switch(value: Any) -> bool:
    """True or false, also as text: fire takes `false` for a word, and a word that is not empty would be true."""
    text = str(value).lower()
    if text not in ("true", "false", "1", "0"):
        raise Wrong("true or false")
    return text in ("true", "1")


def mixed_precision(value: Any) -> Any:
    """`auto`, or a switch."""
    try:
        return value if value == "auto" else switch(value)
    except Wrong:
        raise Wrong("auto, true or false") from None


def device(value: Any) -> Any:
    """A device that this machine has."""
    import torch

    try:
        found = torch.device(value)
    except (RuntimeError, TypeError, ValueError):
        raise Wrong("cpu, cuda, or cuda and a number such as cuda:0") from None
    if found.type not in ("cpu", "cuda"):
        try:
            torch.zeros(1, device=found)
        except Exception:  # of every kind, from PyTorch's parts for other machines
            raise Wrong("cpu, cuda, or another device that PyTorch finds on this machine") from None
    count = torch.cuda.device_count() if found.type == "cuda" and torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        raise Wrong(f"cuda:0 to cuda:{count - 1}" if count else "cpu, as PyTorch finds no GPU on this machine")
    return value if isinstance(value, (str, torch.device)) else str(found)


def rising(value: Any) -> Any:
    """Lower and upper end of a range in HU."""
    wanted = f"two numbers in HU from {-MOST_HU:g} to {MOST_HU:g}, the lower one first, such as -200,300"
    low, high = several(number(least=-MOST_HU, most=MOST_HU), 2, wanted)(value)
    if not low < high:
        raise Wrong(wanted)
    return [low, high]


def labels(value: Any) -> Any:
    """A block of labels; what is wrong inside it is said by `bundle.labels`."""
    from bundle import labels as block

    if not isinstance(value, Mapping):
        raise Wrong("a block such as '{background: 0, pancreas: 1}'")
    block.check(value)
    return value


def left_open(value: Any) -> Any:
    """Values of label maps, each with the structures that it may be; None or empty for none."""
    if not value:
        return None
    wanted = """values from 1 to 255, each with the structures that it may be, such as '{"255": ["pancreas", "spleen"]}'"""
    if not isinstance(value, Mapping):
        raise Wrong(wanted)
    for key, names in value.items():
        good = str(key).isdecimal() and 1 <= int(key) <= 255
        if not good or not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
            raise Wrong(wanted)
    return value


def channels(value: Any) -> Any:
    """A block of channels; what is wrong inside it is said by `bundle.channels`."""
    from bundle.channels import channels_of

    channels_of(value)
    return value


def part(value: Any) -> Any:
    """A part of a run, such as 3/8."""
    from bundle.results.parts import part_of

    try:
        return value if value is None else str(part_of(str(value)))
    except UserError:
        raise Wrong("K/N, the K-th of N parts counted from 1, such as 3/8") from None


def pieces(value: Any) -> Any:
    """What to keep of each structure; the structures' names are looked at by the transform."""
    each = list(value.values()) if isinstance(value, Mapping) else [] if value is None else [value]
    for one in each:
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not (0 < one < 1 or (one >= 1 and one == int(one))):
            raise Wrong("a share below 1 such as 0.1, a number of pieces from 1 up, or one of them for each structure")
    return value


def class_names(least: int, optional: bool = False) -> Kind:
    """Names of classes, `least` or more, each once; None where `optional`."""
    few = "two names" if least == 2 else "one name"
    wanted = f"{few} or more, each once, such as \"['none','portal']\"" + ("; or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        names = [str(name) for name in value] if isinstance(value, (list, tuple)) else []
        plain = all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in value) if names else False
        if len(names) < least or len(set(names)) < len(names) or not plain:
            raise Wrong(wanted)
        return names

    return kind
