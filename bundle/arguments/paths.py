"""Names of files and folders as they were typed: `2024`, `scans#1`, `Doe,John` and `[x]` are names, whatever fire reads in them."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import SEPARATOR, config_of, read
from bundle.errors import UserError
from bundle.files import named

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

# keys whose values are names of files or folders; those that may be None as well
NEEDED = ("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "ckpt_path", "coarse_ckpt_path", "pretrained", "openvino_cache")
OPTIONAL = ("cache_dir", "datalist", "reference_ranges", "shape_prior", "calibration", "start_from", "scan_classifier")
# keys of which several names can be given, as a list
LISTS = ("ckpt_path", "coarse_ckpt_path")
# the model zoo's name for the cases themselves, in a config of theirs over one that has no such key
OF_OTHERS = ("datalist",)
# folders that a run writes to; those that are typed are looked at, as a run need not write to all of them
WRITTEN = ("output_dir", "ckpt_dir", "cache_dir")
# a value that begins with one of these means something to MONAI
EXPRESSION, REFERENCE, MACRO = "$", "@", "%"


def take(parser: ConfigParser, line: CommandLine) -> None:
    """Give each key that names a file or folder the name as it was typed, or as it is in the config file.

    Raises:
        UserError: a key without a value or with two, a reference or expression that cannot be evaluated, a folder that cannot be
            written to.
    """
    _check_once(line)
    written, config = _written(line), config_of(parser)
    for key in (*NEEDED, *OPTIONAL):
        if key not in config:
            continue
        typed, shown = key in line.values, line.shown(key)
        raw = unquoted(line.values[key], shown) if typed else written.get(key, config[key])
        value: str | list[str] | None
        if key in OPTIONAL and (raw is None or raw in ("None", "null")):
            value = None
        elif key in LISTS and isinstance(config[key], list) and not (typed and os.path.lexists(raw)):
            value = _several(key, raw if isinstance(raw, list) else config[key], parser, shown)
        else:
            value = _one(key, raw, parser, shown)
            if key in WRITTEN and typed and isinstance(value, str):
                _check_writable(value, shown)
        parser.ref_resolver.resolved_content[key] = value


def _check_once(line: CommandLine) -> None:
    """Refuse a key with two names: the last would count, and what is in the first would be left out without a word."""
    for key, before, last in line.again:
        if key in (*NEEDED, *OPTIONAL) and before != last:
            raise UserError(line.shown(key), f"it is given twice, as {before} and as {last}", "give it once; two folders are two runs")


def _several(key: str, listed: list[Any], parser: ConfigParser, shown: str) -> list[str]:
    """The names of a list, each as a single one would be."""
    names: list[str] = []
    for place, raw in enumerate(listed):
        found = _one(f"{key}{SEPARATOR}{place}", raw, parser, shown)
        names += [found] if isinstance(found, str) else found
    if not names:
        raise UserError(shown, "the list is empty", "give one file or more")
    return names


def _one(key: str, raw: Any, parser: ConfigParser, shown: str) -> str | list[str]:
    """A name as it is written, or what its expression says."""
    if isinstance(raw, str) and not _means_something(raw, parser, shown):
        return expanded(raw, shown)
    return _evaluated(key, raw, parser, shown)


def expanded(raw: str, shown: str) -> str:
    """A name with `~` for the home folder, unless that very name exists.

    Raises:
        UserError: an empty name.
    """
    if not raw.strip():
        raise UserError(shown, "the name is empty", "give a file or folder; for this folder a dot")
    return raw if os.path.lexists(raw) else os.fspath(named(raw))


def unquoted(raw: str | None, shown: str) -> str:
    """A typed value without a second pair of quotes around it.

    Raises:
        UserError: no value.
    """
    if raw is None:
        raise UserError(
            shown, "there is no value after this key", "give the name of a file or folder, one that begins with a dash as ./-NAME"
        )
    if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"" and not os.path.lexists(raw):
        try:
            return str(ast.literal_eval(raw))
        except (ValueError, SyntaxError):
            return raw
    return raw


def _means_something(raw: str, parser: ConfigParser, shown: str) -> bool:
    """Whether a value is an expression or reference of MONAI, not a name that begins like one."""
    if not raw.startswith((EXPRESSION, REFERENCE, MACRO)) or os.path.lexists(raw):
        return False
    if raw.startswith(REFERENCE) and raw[1:] not in parser:
        problem = f"{raw} refers to another key, and no key has this name"
        raise UserError(shown, problem, f"for a file or folder of this name write ./{raw}")
    return not raw.startswith(MACRO)


def _check_writable(folder: str, shown: str) -> None:
    """Refuse a folder that cannot be made or written to, before hours are spent on what should go there."""
    there = os.path.abspath(folder)
    while not os.path.lexists(there) and there != os.path.dirname(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise UserError(shown, f"{there} is not a folder", "choose another name, or move that file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(shown, f"nothing can be written to {there}", "choose another folder, or change its permissions")


def _evaluated(key: str, raw: Any, parser: ConfigParser, shown: str) -> str | list[str]:
    """The value of an expression or reference; a whole number is a name, too, and one key may refer to the list of another."""
    try:
        value = parser.get_parsed_content(key)
    except Exception as error:
        reason = error.__cause__ or error
        fix = f"correct the expression; for a file or folder of this name write ./{raw}"
        raise UserError(shown, f"{raw} cannot be evaluated ({reason})", fix) from error
    if key in OF_OTHERS and isinstance(value, list):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if key in LISTS and isinstance(value, list):
        return value
    if not isinstance(value, (str, os.PathLike)) or not str(value).strip():
        raise UserError(shown, f"{value!r} is not the name of a file or folder", "give one, between quotes in a config file")
    return os.fspath(value)


def _written(line: CommandLine) -> dict[str, Any]:
    """What the files say about these keys, before MONAI changed `#` in it to `::`; the last one counts."""
    found: dict[str, Any] = {}
    for content in (*(read(file) for file in line.files), line.arguments):
        if isinstance(content, Mapping):
            found = {key: value for key, value in found.items() if key not in content}
            found.update({key: content[key] for key in (*NEEDED, *OPTIONAL) if _is_written(key, content.get(key))})
    return found


def _is_written(key: str, value: Any) -> bool:
    return isinstance(value, str) or (key in LISTS and isinstance(value, list))
