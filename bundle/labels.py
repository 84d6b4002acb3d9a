"""The `labels` block at the top of each config: which structures there are, and by which values files store them.

`{"background": 0, "pancreas": 1, "kidney": [3, 4]}` means: channel 0 of the network is the background, channel 1 the
pancreas, channel 2 the kidney; in label files the pancreas is stored as 1 and the kidney as 3 or 4. A list merges
values; label maps that the bundle writes use the first value of each list.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bundle import root
from bundle.errors import UserError
from bundle.json_input import kind, read_object

Labels = Mapping[str, int | Sequence[int]]
# how far a stored value may be from the whole number it means: scaled and resampled label maps hold 0.99999994 for 1.
# Scoring, the check and training all use it
TOLERANCE = 1e-3
IGNORE = "ignore"  # nnU-Net's name for voxels that nobody labelled
# values of a label map from here on are sets of channels: SETS plus 2 to the power of c - 1 for each channel c, beside the background
SETS = 128
# channels that fit into the set of a value of 8 bits
MOST_IN_A_SET = 7
EXAMPLE = '{"labels": {"background": 0, "pancreas": 1}}'


def one_of(channels: Iterable[int]) -> int:
    """The value of a voxel that is background or one of `channels` (1 to 7), nobody said which; 128 for none is plain background.

    Raises:
        ValueError: another channel.
    """
    value = SETS
    for channel in channels:
        if not 1 <= channel <= MOST_IN_A_SET:
            raise ValueError(f"channel {channel} can't be left open: only 1 to {MOST_IN_A_SET} can")
        value |= 1 << (channel - 1)
    return value


def left_open(structures: Sequence[str], names: Sequence[str], where: str) -> int:
    """`one_of` for structures by name.

    Args:
        structures: what a voxel may be beside background.
        names: those of a `labels` block, the background first.
        where: what an error names.

    Raises:
        UserError: a structure is none of `names`, or not among the first `MOST_IN_A_SET`, or there are too many for any to be left open.
    """
    unknown = [name for name in structures if name not in names[1:]]
    if unknown:
        raise UserError(where, f"{unknown} is no structure of the `labels` block", f"use some of {list(names[1:])}")
    late = [name for name in structures if names.index(name) > MOST_IN_A_SET]
    if late or len(names) > SETS:
        fix = f"put it among the first {MOST_IN_A_SET} of the `labels` block, or take it out"
        raise UserError(where, f"{late[0] if late else structures[0]} is left open, and is not among the first structures of `labels`", fix)
    return one_of(names.index(name) for name in structures)


def unlabelled(labelled: Sequence[str], names: Sequence[str], where: str) -> int:
    """What the background of a partly labelled case may be: the set of the structures that its label map leaves out; 0 for none.

    Args:
        labelled: the structures that the label map has.
        names: those of a `labels` block, the background first.
        where: what an error names.

    Raises:
        UserError: a structure is none of `names`, or one that is left out can't be left open.
    """
    unknown = [name for name in labelled if name not in names[1:]]
    if unknown:
        problem = f"is listed as labelled for {', '.join(unknown)}, which labels has not"
        raise UserError(where, problem, f"use some of {', '.join(names[1:])}")
    missing = [name for name in names[1:] if name not in labelled]
    return left_open(missing, names, where) if missing else 0


class Resolved(NamedTuple):
    """A `labels` block, where it is from, and the values whose voxels are left out of scores (nnU-Net's `ignore`)."""

    block: dict[str, int | list[int]]
    origin: str
    ignore: tuple[int, ...] = ()


def resolve(
    labels: Labels | str | os.PathLike | None,
    folders: Sequence[str | os.PathLike] = (),
    *,
    files: Sequence[str] = ("labels.json", "dataset.json"),
    config: str = "inference.json",
) -> Resolved:
    """The `labels` block to use: the one that is given, else the data set's own, else that of the bundle's config.

    Args:
        labels: the block itself, also as text; a JSON file with `labels` in it (a config, a `dataset.json` of MSD or nnU-Net) or with the
            block alone; or None.
        folders: where `files` are looked for, in this order: the first that names labels counts.
        files: names of JSON files of a data set: `labels.json` is what the user trains with, `dataset.json` what its authors say.
        config: the config of the bundle that has the last word.

    Raises:
        UserError: a file that cannot be read or holds no labels, or labels that are not usable.
    """
    if isinstance(labels, str) and labels.lstrip().startswith("{"):
        labels = _written_out(labels)
    if isinstance(labels, Mapping):
        return _resolved(labels, "the command line", "labels")
    if labels is not None:
        if not isinstance(labels, (str, os.PathLike)):
            raise UserError("labels", f"is {kind(labels)}", f"give a block such as {EXAMPLE[11:-1]}, or a JSON file with one")
        content = read_object(labels, EXAMPLE)
        return _resolved(content.get("labels", content), str(labels), labels)
    for path in (Path(folder) / name for name in files for folder in folders):
        if path.is_file() and "labels" in (content := read_object(path, EXAMPLE)):
            return _resolved(content["labels"], str(path), path)
    path = Path(root()) / "configs" / config
    if not path.is_file():
        raise UserError("labels", "are not known", f"say which value is what: --labels '{EXAMPLE[11:-1]}'")
    return _resolved(read_object(path, EXAMPLE).get("labels"), str(path), path)


def _written_out(text: str) -> Any:
    """A block that was typed on a command line, as JSON or as Python writes it."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        fix = f"write it as {EXAMPLE[11:-1]}, between single quotes"
        raise UserError("labels", f"{text[:200]} cannot be read ({' '.join(str(error).split())[:100]})", fix) from error


def _resolved(block: Any, origin: str, where: str | os.PathLike) -> Resolved:
    """A block as MSD (`{"1": "pancreas"}`), nnU-Net or the bundle write it, the background first."""
    if not isinstance(block, Mapping):
        raise UserError(where, f"its 'labels' is {kind(block)}, not an object", f"write {EXAMPLE}")
    found: dict[str, Any] = {}
    for key, value in block.items():
        if str(key).isdecimal() and isinstance(value, str):  # MSD; one name for two values is one structure
            found[value] = [*_as_list(found[value]), int(key)] if value in found else int(key)
        else:
            found[str(key)] = value
    found = {name.lower() if name.lower() in ("background", IGNORE) else name: value for name, value in found.items()}
    ignore = _as_list(found.pop(IGNORE, []))
    found = {"background": found.get("background", 0), **{name: value for name, value in found.items() if name != "background"}}
    try:
        check({**found, **({IGNORE: ignore} if ignore else {})})
    except UserError as error:
        raise UserError(where, f"{error.where}: {error.problem}", error.fix) from error
    return Resolved(found, origin, tuple(ignore))


def names(labels: Labels) -> list[str]:
    """Structure names in the order of the network's channels, the background first."""
    check(labels)
    return list(labels)


def values(labels: Labels) -> list[list[int]]:
    """For each channel of the network, the values that mean it in label files."""
    check(labels)
    return [_as_list(value) for value in labels.values()]


def output_values(labels: Labels) -> list[int]:
    """For each channel of the network, the value that is written to label maps: the first of its values."""
    return [channel[0] for channel in values(labels)]


def for_each(labels: Labels, usual: float, **others: float) -> dict[str, float]:
    """A number for each structure: `usual`, or what `others` gives by name; names that are no structure here are left out."""
    return {name: others.get(name, usual) for name in names(labels)[1:]}


def pieces_if(wanted: bool, pieces: Mapping[str, int]) -> Mapping[str, int] | bool:
    """How many pieces of each structure stay where that is wanted, for the record of a result; False where it is not."""
    return pieces if wanted else False


def channel_def(labels: Labels) -> dict[str, str]:
    """`channel_def` as the bundle's metadata states it: channel index as a string, to name."""
    return {str(channel): name for channel, name in enumerate(names(labels))}


def check_known(known: Iterable[str], labels: Labels, where: str | os.PathLike) -> None:
    """Refuse a file about structures of which none is in the `labels` block: it would change nothing.

    Raises:
        UserError: there is none; with the names on both sides.
    """
    wanted, known = names(labels)[1:], list(known)
    if known and not set(known) & set(wanted):
        problem = f"it is about {', '.join(known[:5])}, and the labels are {', '.join(wanted[:5])}"
        raise UserError(where, problem, "learn it from label maps of these structures, under the same names")


def check(labels: Labels) -> None:
    """Raise `UserError` unless the background comes first and every value is a whole number in 0..255, used once, 0 by no structure."""
    if not isinstance(labels, Mapping):
        raise UserError("labels", f"is {kind(labels)}, not a block of names and values", 'write {"background": 0, "pancreas": 1}')
    if len(labels) < 2:
        fix = 'name the background and a structure: {"background": 0, "pancreas": 1}'
        raise UserError("labels", f"{dict(labels)} names fewer than two classes", fix)
    if next(iter(labels)) != "background":
        raise UserError("labels", f"the first entry is '{next(iter(labels))}'", "put 'background' first")
    seen: dict[int, str] = {}
    for name, value in labels.items():
        channel = _as_list(value)
        if not isinstance(name, str) or not name:
            raise UserError("labels", f"the name {name!r} is not a text", 'write {"background": 0, "pancreas": 1}')
        if not channel:
            raise UserError("labels", f"'{name}' has no value", "give it the value it has in the label files")
        for item in channel:
            if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item <= 255:
                raise UserError("labels", f"'{name}' has the value {item!r}", "use whole numbers from 0 to 255")
            if item == 0 and name != "background":
                # measurements and scores take voxels of 0 for nothing
                raise UserError("labels", f"'{name}' has the value 0", "0 is the background's; give structures values from 1 to 255")
            if item in seen:
                raise UserError("labels", f"'{seen[item]}' and '{name}' share the value {item}", "give each value to one structure")
            seen[item] = name


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
