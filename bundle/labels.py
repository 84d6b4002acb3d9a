"""The `labels` block at the top of each config: which structures there are, and by which values files store them.

`{"background": 0, "pancreas": 1, "kidney": [3, 4]}` means: channel 0 of the network is the background, channel 1 the
pancreas, channel 2 the kidney; in label files the pancreas is stored as 1 and the kidney as 3 or 4. A list merges
values; label maps that the bundle writes use the first value of each list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bundle.errors import UserError

Labels = Mapping[str, int | Sequence[int]]


def names(labels: Labels) -> list[str]:
    """Structure names in the order of the network's channels, the background first."""
    check(labels)
    return list(labels)


def values(labels: Labels) -> list[list[int]]:
    """For each channel of the network, the values that stand for it in label files."""
    check(labels)
    return [_as_list(value) for value in labels.values()]


def output_values(labels: Labels) -> list[int]:
    """For each channel of the network, the value that is written to label maps: the first of its values."""
    return [channel[0] for channel in values(labels)]


def channel_def(labels: Labels) -> dict[str, str]:
    """`channel_def` as the bundle's metadata states it: channel index as a string, to name."""
    return {str(channel): name for channel, name in enumerate(names(labels))}


def check(labels: Labels) -> None:
    """Raise `UserError` unless the background comes first and every value is a whole number in 0..255, used once."""
    if len(labels) < 2:
        fix = 'name the background and a structure: {"background": 0, "pancreas": 1}'
        raise UserError("labels", f"{dict(labels)} names fewer than two classes", fix)
    if next(iter(labels)) != "background":
        raise UserError("labels", f"the first entry is '{next(iter(labels))}'", "put 'background' first")
    seen: dict[int, str] = {}
    for name, value in labels.items():
        channel = _as_list(value)
        if not channel:
            raise UserError("labels", f"'{name}' has no value", "give it the value it has in the label files")
        for item in channel:
            if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item <= 255:
                raise UserError("labels", f"'{name}' has the value {item!r}", "use whole numbers from 0 to 255")
            if item in seen:
                raise UserError("labels", f"'{seen[item]}' and '{name}' share the value {item}", "give each value to one structure")
            seen[item] = name


def _as_list(value: int | Sequence[int]) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
