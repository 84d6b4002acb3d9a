"""A folder that a verb writes a data set into: its own, or an empty one, never one that holds something else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.errors import UserError
from bundle.files import ASIDE, remove_unfinished

DESCRIPTION = "dataset.json"


def claim(
    folder: Path,
    verb: str,
    own: Mapping[str, Any],
    *,
    parts: tuple[str, ...],
    usual: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    scans: str = "",
) -> Mapping[str, Any]:
    """Refuse a folder that holds something else, and clear what a killed run left in it.

    The verb then writes `dataset.json` with `own` under the key `verb` before anything else, so that an interrupted run knows its
    folder again.

    Args:
        folder: the folder; it need not exist.
        verb: key of the record in `dataset.json`.
        own: what decides which scans are written: those of another record must not stay under this one's name.
        parts: folders that the verb writes into.
        usual: what a record means that lacks a key of `own`.
        overwrite: whether scans of another record of this verb are removed.
        scans: pattern of the names of all files that are such scans; those of a longer list than the last one are among them.

    Returns:
        The record that the folder had, empty where it had none or that of others was removed.

    Raises:
        UserError: the folder holds another data set, other files, or scans of another record without `overwrite`.
    """
    before: Mapping[str, Any] = {}
    description = folder / DESCRIPTION
    if folder.exists() and not folder.is_dir():
        raise UserError(folder, "is a file", "choose another folder")
    if description.exists():
        content = _read(description)
        found = content.get(verb) if isinstance(content, dict) else None
        if not isinstance(found, dict):
            raise UserError(description, f"the folder holds another data set, not one of '{verb}'", "choose another folder")
        before, found = found, {**(usual or {}), **found}
        differing = {key: value for key, value in own.items() if found.get(key) != value}
        if differing and not overwrite:
            was, now = (", ".join(f"{key} {_short(values.get(key))}" for key in differing) for values in (found, own))
            raise UserError(
                description, f"the folder holds another data set ({was}), not {now}", "choose another folder, or give --overwrite"
            )
        if differing:
            before = {}
            for path in [path for part in parts for path in (folder / part).glob("*") if re.fullmatch(scans, path.name)]:
                path.unlink(missing_ok=True)
    elif folder.is_dir() and (others := sorted(_others(folder, parts))):
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise UserError(folder, f"holds something else ({', '.join(others[:3])}{more})", "choose a new folder")
    for part in (folder, *(folder / name for name in parts)):
        remove_unfinished(part)
    return before


def _short(value: Any) -> str:
    return f"of {len(value)} names" if isinstance(value, list) and len(value) > 3 else str(value)


def _read(description: Path) -> Any:
    try:
        return json.loads(description.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _others(folder: Path, parts: tuple[str, ...]) -> Iterator[str]:
    """Names of what is there, but for empty folders of ours and unfinished files."""
    for path in folder.iterdir():
        empty = path.name in parts and path.is_dir() and not any(not inside.name.endswith(ASIDE) for inside in path.iterdir())
        if not empty and not path.name.endswith(ASIDE):
            yield path.name
