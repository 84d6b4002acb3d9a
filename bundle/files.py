"""Files that are whole or not there at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ASIDE = ".unfinished"


@contextmanager
def written_aside(path: str | os.PathLike, *, alone: bool = False) -> Iterator[Path]:
    """Give a hidden path beside `path` to write to; when the block ends well it is renamed to `path`, otherwise removed.

    Folders that are missing are made.

    Args:
        path: the file.
        alone: whether one process at a time writes it: the hidden name is then always the same, so that what a killed process
            left is written over and large files do not pile up.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}{ASIDE}" if alone else f".{path.name}.{os.getpid()}{ASIDE}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text as UTF-8, line ends as they are, so that no reader ever sees half of it."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON so that no reader ever sees half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove what a killed process left behind in a folder of results."""
    for path in Path(folder).glob(f".*{ASIDE}"):
        path.unlink(missing_ok=True)
