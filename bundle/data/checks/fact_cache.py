"""Facts kept from one start to the next, so that a data set is read once."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from bundle.data.checks.facts import VERSION
from bundle.files import write_text
from bundle.results.identity import companions


class FactCache:
    """Facts kept in a JSON file, valid as long as a file's size and time of change stay what they were.

    That a file could not be read is not kept: permissions, memory and a missing package change without the file.

    Args:
        path: the JSON file; None keeps nothing. An unreadable or older one is dropped, not an error.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path, self.changed = path, False
        self.known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
            self.known = content.get("files", {}) if content.get("version") == VERSION else {}

    def get(self, kind: str, file: str) -> dict | None:
        """Facts known of `file` (kind `image` or `label`), None where they must be measured."""
        entry = self.known.get(f"{kind}:{file}")
        return entry["facts"] if entry and "error" not in entry["facts"] and entry["stamp"] == stamp(file) else None

    def put(self, kind: str, file: str, before: list[int] | None, facts: dict) -> None:
        """Keep facts measured while the file's stamp was `before`."""
        if before is not None and "error" not in facts:
            self.known[f"{kind}:{file}"] = {"stamp": before, "facts": facts}
            self.changed = True

    def save(self) -> None:
        """Write the file whole, aside first; a folder that cannot be written to keeps no cache and stops nobody."""
        if not self.path or not self.changed:
            return
        with contextlib.suppress(OSError):
            write_text(self.path, json.dumps({"version": VERSION, "files": self.known}))


def stamp(file: str) -> list[int] | None:
    """Size and time of change (ns) of a file and of those that its header names, None where one is missing or it is a folder."""
    if not os.path.isfile(file):
        return None
    try:
        found = [os.stat(one) for one in (file, *companions(Path(file)))]
    except OSError:
        return None
    return [number for status in found for number in (status.st_size, status.st_mtime_ns)]
