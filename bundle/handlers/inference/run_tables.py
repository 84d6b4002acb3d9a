"""`run.json` and `cases.csv`: made of the records of all cases in a folder, whichever run or process wrote them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bundle
from bundle import files
from bundle.results import outputs
from bundle.results.records import Entry, Records

# the tables are written anew when a 50th of the cases is new and so many times as long has passed as it takes, or after a minute:
# bytes grow with the cases, not their square, and time by a twentieth at most
SHARE, PAUSE, SECONDS = 50, 20.0, 60.0


class RunTables:
    """Writes both tables, not after every case of many.

    Args:
        records: of the folder.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._new, self._written_at, self._took = 0, 0.0, 0.0

    def note(self) -> bool:
        """Note a new case; whether the tables are due."""
        self._new += 1
        passed = time.monotonic() - self._written_at
        return passed > SECONDS or (self._new >= max(1, len(self.records) // SHARE) and passed > PAUSE * self._took)

    def write(self, run: Mapping[str, Any], hidden: set[str], wait: float) -> None:
        """Write both, where no other process is writing them just now.

        Args:
            run: what `run.json` says of this run: settings, started, finished.
            hidden: names of cases of which nothing is left.
            wait: seconds to wait for another process that is writing them.
        """
        from bundle.quality.cases import write_rows

        began = time.monotonic()
        with files.locked(self.records.hidden / ".lock", wait=wait) as alone:
            if not alone:
                return
            self.records.refresh()
            entries = [entry for entry in self.records if entry["case"] not in hidden]
            written = sum(entry["status"] == "ok" for entry in entries)
            counts = {"written": written, "failed": len(entries) - written}
            content = {"bundle": bundle.__version__, **run, **counts, "cases": [_without_rows(entry) for entry in entries]}
            files.write_json(self.records.folder / outputs.RECORD, content)
            write_rows(self.records.folder, [row for entry in entries for row in entry.get("rows") or []])
            self._new, self._written_at = 0, time.monotonic()
            self._took = self._written_at - began


def rows_by_case(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Case to its rows of a folder's `cases.csv`; none where there is no such table or it cannot be read."""
    from bundle.quality.cases import read_cases_csv

    rows: dict[str, list[dict[str, str]]] = {}
    with suppress(OSError, ValueError):
        for row in read_cases_csv(folder):
            rows.setdefault(row["case"], []).append(row)
    return rows


def failed_rows(entry: Entry, kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of `cases.csv` for a case that failed: those of the result that is kept, marked, or one that holds the error."""
    from bundle.quality.cases import CaseResult, case_rows

    rows = case_rows(CaseResult(name=entry["case"], source=entry["source"], error=entry["error"]))
    if not kept or not kept.get("rows"):
        return rows
    note = f"{entry['error']} (files and figures are those of an earlier run{', ' + kept['ended'] if kept.get('ended') else ''})"
    marked = {name: rows[0][name] for name in ("source", "status", "review", "score", "reasons")} | {"error": note}
    return [{**row, **marked} for row in kept["rows"]]


def _without_rows(entry: Entry) -> Entry:
    shown = {name: value for name, value in entry.items() if name != "rows"}
    if entry.get("kept"):
        shown["kept"] = {name: value for name, value in entry["kept"].items() if name != "rows"}
    return shown
