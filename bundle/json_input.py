"""Reading JSON that somebody else wrote: whatever is wrong with it is one `UserError` that names the file and the fix."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bundle.errors import UserError


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file, as UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        UserError: the file cannot be read, is not valid JSON, is nested too deeply, holds NaN or infinity, or has a key twice in
            one object: JSON readers keep the last value of such a key, without a word.
    """
    try:
        return json.loads(Path(path).read_bytes(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})", "give an existing JSON file") from error
    except RecursionError as error:
        raise UserError(path, "is not usable JSON (nested too deeply)", "give the list itself, without brackets around brackets") from error
    except ValueError as error:
        raise UserError(path, f"is not valid JSON ({error})", "correct it, or give another file") from error


def read_object(path: str | os.PathLike, example: str) -> dict[str, Any]:
    """The content of a JSON file that must hold an object; `example` shows one in the error."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(path, f"holds {kind(content)}, not an object", f"write {example}")
    return content


def kind(value: Any) -> str:
    """What a JSON value is, in words: `null`, `a number (3)`, `a list`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"a number ({value!r})"
    if isinstance(value, str):
        return f'a text ("{value[:60]}")'
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else type(value).__name__


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(key for key in keys if keys.count(key) > 1)}" is there twice in one object')
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
