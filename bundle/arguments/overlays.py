"""Which configs can be combined: each overlay says what it may be put on, and two that contradict each other are refused.

An overlay names itself in the key `+overlays`: `{"finetune": ["train"]}` means that finetune.json is given after train.json. One of
the configs in the list must come before it; it may change the keys of all of them. `not NAME` excludes one. Other overlays must not
set the same key to another value, nor leave a key without effect: then each does what it says, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.arguments.command_line import CommandLine, normal
from bundle.arguments.config import config_of, read, references, shipped, touches
from bundle.errors import UserError

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

MERGE = "+"


def check(parser: ConfigParser, line: CommandLine) -> None:
    """Refuse overlays without their base, and pairs that do not combine.

    Raises:
        UserError: such an overlay or pair.
    """
    declared: Any = config_of(parser).get("overlays")
    names = list(declared) if isinstance(declared, Mapping) else []
    files = {Path(file).stem: file for file in line.files}
    for name, file in files.items():
        content = read(file)
        if name not in names and name in (content.get(f"{MERGE}overlays") or {}):
            fix = f"give it after {_bases(content, name)}"
            raise UserError(file, "this overlay is given before the config that it changes", fix)
    for place, name in enumerate(names):
        _check_place(name, declared[name], names[:place], names)
    contents = {name: keys_of(read(files[name]) if name in files else shipped(name)) for name in names if declared[name]}
    for place, second in enumerate(contents):
        for first in list(contents)[:place]:
            if first not in declared[second]:
                _check_pair(first, second, contents, line, ordered=second in declared[first])
    for name in contents:
        _check_effect(name, contents, config_of(parser), _base(name, declared))


def check_order(files: Sequence[str]) -> None:
    """Refuse overlays that are given before their base, by the files alone: MONAI cannot merge them.

    Raises:
        UserError: such an overlay.
    """
    contents = {Path(file).stem: read(file) for file in files}
    declared = {name: (content.get("overlays") or content.get(f"{MERGE}overlays") or {}).get(name) for name, content in contents.items()}
    names = [name for name, wanted in declared.items() if wanted is not None]
    for place, name in enumerate(names):
        _check_place(name, declared[name], names[:place], names)


def keys_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The ids that an overlay sets, with their values; what it adds to a list or block does not change what is there."""
    return {normal(key): value for key, value in content.items() if not key.startswith((MERGE, "_"))}


def _check_place(name: str, wanted: Any, before: list[str], names: list[str]) -> None:
    bases = [base for base in wanted if not base.startswith("not ")]
    if bases and not any(base in before for base in bases):
        fix = f"give {' or '.join(f'{base}.json' for base in bases)} before it"
        raise UserError(f"{name}.json", "this overlay is not given after the config that it changes", fix)
    for excluded in (base.removeprefix("not ") for base in wanted if base.startswith("not ")):
        if excluded in names:
            raise UserError(f"{name}.json", f"it cannot be combined with {excluded}.json", "leave one of the two out")


def _check_pair(first: str, second: str, contents: Mapping[str, Mapping[str, Any]], line: CommandLine, *, ordered: bool) -> None:
    """Refuse two overlays that set one key to two values, unless the command line sets it to a third.

    `ordered`: they do combine where the first comes after the second.
    """
    for key, value in contents[second].items():
        for other, there in contents[first].items():
            if touches(key, other) and not (key == other and (value == there or key in line.keys)):
                shown = max(key, other, key=len).replace("::", "#")
                fix = f"leave one of the two out, or give --{shown} yourself"
                if key != other:
                    whole, part = (first, second) if len(other) < len(key) else (second, first)
                    replaces = f"{whole}.json replaces {min(key, other, key=len)}"
                    fix = f"leave one of the two out: {replaces}; give as keys what else {part}.json sets"
                if ordered:
                    fix = f"give {first}.json after {second}.json"
                raise UserError(f"{first}.json and {second}.json", f"both set {shown}, so that one would undo the other", fix)


def _check_effect(name: str, contents: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any], base: str | None) -> None:
    """Refuse an overlay one of whose keys is used where it is alone on its base, but by nothing in this combination."""
    used = references(config)
    idle = [key for key in contents[name] if not any(touches(key, other) for other in used)]
    if not idle or base is None:
        return
    alone = references([shipped(base), shipped(name), contents[name]])
    for key in idle:
        if any(touches(key, other) for other in alone - _overridden(base, contents[name])):
            others = " or ".join(f"{other}.json" for other in contents if other != name)
            problem = f"its key {key.replace('::', '#')} would have no effect together with {others or 'your config'}"
            raise UserError(f"{name}.json", problem, "leave one of them out")


def _overridden(base: str, keys: Mapping[str, Any]) -> set[str]:
    """Ids to which only those parts of a base refer that an overlay replaces."""
    content = {normal(key): value for key, value in shipped(base).items()}
    kept = references([value for key, value in content.items() if key not in keys] + list(keys.values()))
    return references(content) - kept


def _base(name: str, declared: Mapping[str, Any]) -> str | None:
    return next((base for base in declared[name] if base in declared), None)


def _bases(content: Mapping[str, Any], name: str) -> str:
    return " or ".join(f"{base}.json" for base in content[f"{MERGE}overlays"][name] if not base.startswith("not "))
