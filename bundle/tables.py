"""Tables as CSV files: one writer and one reader, so that no cell of any of them is a formula.

A spreadsheet evaluates a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, and a file name may begin with any
of them (https://owasp.org/www-community/attacks/CSV_Injection). Such text gets an apostrophe in front, which spreadsheets
show and do not evaluate; `read_csv` takes it away again. Numbers stay as they are.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from bundle.errors import UserError
from bundle.files import written_aside

NUMBER = r"[+-](?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|nan)\s*(?:$|[;\t\r\n])"
# the start of a cell. Where the system's list separator is another one than the comma, spreadsheets also split at it
FORMULA = re.compile(rf"(^|[;\t\r\n])( *'*)(?!{NUMBER})(?=[=+\-@\t\r＝＋－＠])")
MARKED = re.compile(rf"(^|[;\t\r\n])( *'*)'(?!{NUMBER})(?=[=+\-@\t\r＝＋－＠])")


def plain(value: Any) -> Any:
    """What is written for a value: text that would begin a formula gets an apostrophe in front, None is an empty cell."""
    if value is None:
        return ""
    return FORMULA.sub(r"\1\2'", value) if isinstance(value, str) else value


def original(cell: str) -> str:
    """The text for which `plain` gave this cell."""
    return MARKED.sub(r"\1\2", cell)


def write_csv(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, alone: bool = False) -> Path:
    """Write a table, whole or not at all: a line of names, then a line per row.

    Args:
        path: the file.
        columns: names of the columns, in order.
        rows: values by name; other names are left out, missing ones and None are empty cells.
        alone: see `bundle.files.written_aside`.

    Returns:
        The path.
    """
    # a file name that is not UTF-8 is written with the bytes as \udc.. : it must not end the run
    with written_aside(path, alone=alone) as aside, open(aside, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        usual = csv.writer(file, lineterminator="\n")
        # Python before 3.13 leaves a carriage return without quotes, and every reader takes it for the end of the row
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        for row in chain([dict(zip(columns, columns, strict=True))], rows):
            cells = [plain(row.get(name)) for name in columns]
            (quoted if any(isinstance(cell, str) and "\r" in cell for cell in cells) else usual).writerow(cells)
    return Path(path)


def read_csv(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of a table as text by column name, as they were before `write_csv` wrote them.

    A byte order mark, which spreadsheets add, is left out. Columns that a short line lacks are "".
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, restval="")
        return [{original(name): original(cell) for name, cell in row.items() if name is not None} for row in rows]


def read_table(path: str | os.PathLike, needed: Sequence[str], fix: str) -> list[dict[str, str]]:
    """`read_csv` of a table that other programs may have saved since.

    Args:
        path: the file.
        needed: columns that it must have.
        fix: what to do about a table that cannot be used.

    Raises:
        UserError: it cannot be read, or it has rows and lacks a column.
    """
    try:
        rows = read_csv(path)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(path, f"cannot be read as a table ({getattr(error, 'strerror', None) or error})", fix) from error
    lacking = [name for name in needed if rows and name not in rows[0]]
    if lacking:
        there = ", ".join(list(rows[0])[:5])[:80]
        raise UserError(path, f"has no column {lacking[0]}; its first line begins with {there!r}", fix)
    return rows
