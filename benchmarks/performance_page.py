"""Tables of docs/performance.md: a line for each figure, its limit beside it; lines that were not measured this time stay."""

from __future__ import annotations

import datetime
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
COLUMNS = ("what", "measured", "limit", "kept", "when")


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, the figures in words, the limit in words, and whether it is kept (None: it has none)."""

    what: str
    measured: str
    limit: str = ""
    kept: bool | None = None

    def cells(self, when: str) -> list[str]:
        """What stands in the columns."""
        return [self.what, self.measured, self.limit, {True: "yes", False: "**no**", None: ""}[self.kept], when]


def now() -> str:
    """What stands under `when`: the day and the commit."""
    commit = subprocess.run(["git", "-C", str(PAGE.parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"{datetime.date.today().isoformat()} `{commit or 'no git'}`"


def table(rows: list[Row], when: str, earlier: str = "") -> str:
    """The table of one machine; rows of an earlier one that are not measured now stay, at their places."""
    new = {row.what: row.cells(when) for row in rows}
    kept: dict[str, list[str]] = {}
    for line in earlier.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == len(COLUMNS) and cells[0] != COLUMNS[0] and not set(cells[0]) <= set("-: "):
            kept[cells[0]] = cells
    lines = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in (kept | new).values())])


def sections(page: Path, heading: str) -> tuple[list[str], int]:
    """The sections of a page in Markdown, and which of them has a heading that begins so.

    Raises:
        SystemExit: none, or more than one, has such a heading.
    """
    parts = re.split(r"(?m)^(?=## )", page.read_text(encoding="utf-8"))
    places = [place for place, part in enumerate(parts) if part.startswith(f"## {heading}")]
    if len(places) != 1:
        raise SystemExit(f"--write {heading!r}: {len(places)} sections of {page} begin so; there are {', '.join(headings(parts))}")
    return parts, places[0]


def write(page: Path, heading: str, machine: str, command: str, rows: list[Row], when: str) -> None:
    """Put the rows into the section that `sections` finds."""
    parts, place = sections(page, heading)
    title = parts[place].splitlines()[0]
    parts[place] = f"{title}\n\n{machine}, last by\n`{command}`:\n\n{table(rows, when, parts[place])}\n\n"
    page.write_text("".join(parts).rstrip("\n") + "\n", encoding="utf-8")


def headings(parts: list[str]) -> list[str]:
    """Titles of the sections of a page."""
    return [repr(part.splitlines()[0].removeprefix("## ")) for part in parts if part.startswith("## ")]
