"""Keys that nothing in the config uses: a misspelt one is refused with the nearest that is."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties

from bundle.arguments.command_line import MONAI_FLAGS, TRACKING_KEYS, CommandLine, file_like, normal
from bundle.arguments.config import ENTRIES, SEPARATOR, config_of, reached, read, references, shipped, shipped_names, touches
from bundle.errors import UserError

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

_GROUPS: tuple[Any, ...] = (TrainProperties, InferProperties, MetaProperties)
PROPERTIES = {found["id"] for group in _GROUPS for found in group.values()}
# from this likeness on (difflib's ratio) a key in a file is taken for a slip of the pen
ALIKE = 0.84


def check(parser: ConfigParser, line: CommandLine) -> None:
    """Refuse keys that have no effect: every one of the command line, those of files that are nearly the name of another.

    A key of the command line has one where the run reaches it: by references from what MONAI evaluates. A file may hold keys of its own
    that nothing uses, such as notes, as long as they do not look like a slip.

    Raises:
        UserError: such a key, with the nearest that there is.
    """
    config = config_of(parser)
    runs = [*line.words[:1], *(value for key in MONAI_FLAGS[:3] if (value := line.values.get(key)))]
    entries = {*ENTRIES, *runs, *(TRACKING_KEYS if "tracking" in line.values else ())}
    _check_words(parser, line)
    # what a run evaluates: blocks of a base that an overlay leaves without use refer to keys as well
    at_work = reached(config, entries)
    for key in line.keys:
        _check_given(key, parser, at_work, line)
    used = references(config) | entries | PROPERTIES
    unused = [key for key in config if not key.startswith("_") and key not in line.keys and not _used(key, used)]
    for key in unused:
        near = get_close_matches(key, _top(used, config), 1, ALIKE)
        if near and key not in shipped_keys():
            problem = f"nothing uses this key of your config, did you mean {near[0]}?"
            raise UserError(key, problem, "correct the name, or take the key out")


def check_nested(config: Mapping[str, Any], line: CommandLine) -> None:
    """Refuse a nested key whose outer part is not in a config: MONAI cannot merge it.

    Raises:
        UserError: such a key, with the nearest that there is.
    """
    for key in line.keys:
        inner: Any = config
        for part in key.split(SEPARATOR)[:-1]:
            inner = inner.get(part) if isinstance(inner, Mapping) else inner[int(part)] if _is_place(part, inner) else None
        if inner is None:
            alike = nearest(key, _ids(config, set(config)))
            raise UserError(line.shown(key), f"this config has no such key{alike}", "correct the name")


def _is_place(part: str, items: Any) -> bool:
    return isinstance(items, list) and part.isdigit() and int(part) < len(items)


def nearest(key: str, candidates: Iterable[str]) -> str:
    """`, did you mean X?` for the candidate most like a key; nothing where none is."""
    near = get_close_matches(key, list(candidates), 1, 0.6)
    return f", did you mean {near[0].replace(SEPARATOR, '#')}?" if near else ""


def _check_words(parser: ConfigParser, line: CommandLine) -> None:
    """MONAI takes a second word for the name of another `initialize`: mostly it is the rest of a folder's name."""
    if len(line.words) > 1:
        fix = "put names with spaces between quotes, and -- before each key"
        raise UserError(line.words[1], "this word belongs to no key", fix)
    run = line.values.get("run_id") or next(iter(line.words), None)
    if run and run not in parser:
        runs = [key for key in ("training", "inference", "run") if key in config_of(parser)]
        raise UserError(run, "this config has no run of this name" + nearest(run, runs), f"use {' or '.join(runs)}")


def _check_given(key: str, parser: ConfigParser, used: set[str], line: CommandLine) -> None:
    """Refuse a key of the command line that reaches nothing."""
    shown = line.shown(key)
    component, argument = _component(key, config_of(parser))
    if component is not None and argument is not None:
        arguments = _signature(component, parser)
        if arguments is not None and argument not in arguments:
            problem = f"{component['_target_']} has no argument {argument}" + nearest(argument, arguments)
            raise UserError(shown, problem, "correct the name")
    if _used(key, used):
        return
    top = key.split(SEPARATOR)[0]
    if not _used(top, used) and top in shipped_keys() | _tops(name for file in line.files for name in read(file)):
        raise UserError(shown, "nothing in these configs uses this key, so it would have no effect", "leave it out")
    alike = nearest(
        key, [*_ids(config_of(parser), used), *MONAI_FLAGS] if SEPARATOR in key else [*_top(used, config_of(parser)), *MONAI_FLAGS]
    )
    if file := file_like(key):
        raise UserError(shown, "this config has no such key", f"for the file or folder of this name write ./{file}")
    fix = "correct the name" if alike else "the keys that can be set are at the top of the config file"
    raise UserError(shown, f"this config has no such key{alike}", fix)


def _used(key: str, used: set[str]) -> bool:
    return any(touches(key, other) for other in used)


def _top(used: set[str], config: Mapping[str, Any]) -> list[str]:
    """Top-level keys that can be set: those that something uses."""
    return [key for key in config if key not in ENTRIES and _used(key, used)]


def _ids(config: Any, used: set[str], start: str = "") -> list[str]:
    """Every id of a config, the nested ones as well."""
    if not isinstance(config, Mapping):
        return []
    found = []
    for key, value in config.items():
        name = f"{start}{SEPARATOR}{key}" if start else key
        found += [name, *_ids(value, used, name)]
    return [name for name in found if start or _used(name, used)]


def _component(key: str, config: Any) -> tuple[dict | None, str | None]:
    """The innermost component (a mapping with `_target_`) that a nested key sets an argument of, and that argument."""
    component, argument = None, None
    for part in key.split(SEPARATOR):
        if isinstance(config, Mapping):
            if "_target_" in config:
                component, argument = dict(config), part
            config = config.get(part)
        elif _is_place(part, config):
            config = config[int(part)]
        else:
            break
    return component, None if argument is not None and argument.startswith("_") else argument


def _signature(component: Mapping[str, Any], parser: ConfigParser) -> list[str] | None:
    """Names of the arguments that a component takes; None where any is taken, or where it cannot be known."""
    from monai.bundle import ConfigComponent

    name = ConfigComponent(config=dict(component), id="", locator=parser.locator).resolve_module_name()
    target: Any = pydoc.locate(name) if isinstance(name, str) else name
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return None
    return None if any(one.kind is one.VAR_KEYWORD for one in parameters) else [one.name for one in parameters]


def shipped_keys() -> set[str]:
    """Top-level keys of the configs of this bundle."""
    return _tops(key for name in shipped_names() for key in shipped(name))


def _tops(keys: Iterable[str]) -> set[str]:
    """The top-level keys that these keys of a config file are in."""
    return {normal(key.lstrip("+")).split(SEPARATOR)[0] for key in keys}
