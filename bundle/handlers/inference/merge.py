"""Verb `merge`: tables and page of a folder of results that parts on several machines wrote into."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bundle.errors import UserError
from bundle.files import named
from bundle.handlers.inference.case_reports import write_page_alone
from bundle.handlers.inference.run_tables import RunTables, rows_by_case
from bundle.json_input import read_json
from bundle.results import outputs
from bundle.results.parts import Parts, counts, told, whole_run
from bundle.results.records import Records, past

SHOWN = 5


def merge(output_dir: str | os.PathLike) -> int:
    """Write `run.json`, `cases.csv` and `index.html` of all results in a folder, whichever machines made them.

    Says which parts have not ended, and which scans of their plan have no result. May be called at any time and again.

    Args:
        output_dir: the folder, the `--output_dir` of all parts.

    Returns:
        Exit code: 0, or 1 where a case failed or a part has not ended.

    Raises:
        UserError: the folder holds no results.
    """
    folder = named(output_dir)
    hidden = folder / outputs.RECORDS
    if not hidden.is_dir() and not (folder / outputs.RECORD).is_file():
        raise UserError(folder, "there are no results of inference in this folder", "give the --output_dir of the parts")
    if (folder / outputs.CLASS_TABLE).is_file() and not any(hidden.glob("[!.]*.json")) and not (folder / outputs.RECORD).is_file():
        raise UserError(folder, f"its {outputs.CLASS_TABLE} is of a classifier, whose parts write one table", "there is nothing to merge")
    records = Records(folder)
    records.open(lambda: rows_by_case(folder))
    hide = past(folder, records)
    RunTables(records).write(_header(folder, records), hide, wait=600.0)
    write_page_alone(folder)
    shown = [entry for entry in records if entry["case"] not in hide]
    failed = sum(entry["status"] != "ok" for entry in shown)
    print(
        f"{folder}: {len(shown) - failed} written, {failed} failed; {outputs.RECORD}, {outputs.TABLE} and {outputs.PAGE} are of all of them"
    )
    missing = _missing(hidden, records)
    return int(bool(failed or missing))


def _missing(hidden: Path, records: Records) -> bool:
    """Say which parts have not ended and which scans have no result; whether there are any."""
    found = False
    for count in counts(hidden)[:1]:
        parts = Parts(hidden, count)
        unfinished = parts.unfinished()
        without = sorted(name for name in parts.planned() if records.get(name) is None)
        if unfinished:
            print(f"not finished: {told(unfinished, count)}", file=sys.stderr)
        if without:
            more = f", and {len(without) - SHOWN} more" if len(without) > SHOWN else ""
            print(f"without a result: {', '.join(without[:SHOWN])}{more}", file=sys.stderr)
        found = found or bool(unfinished or without)
    return found


def _header(folder: Path, records: Records) -> dict[str, Any]:
    """What `run.json` says of the run: as the parts noted it, else as it is there, else what the last case was made with."""
    run = whole_run(folder / outputs.RECORDS)
    if run:
        return run
    path = folder / outputs.RECORD
    if path.is_file():
        before = read_json(path)
        if isinstance(before, dict) and "settings" in before:
            return {name: before.get(name) for name in ("settings", "started", "finished")}
    last = max((entry for entry in records), key=lambda entry: str(entry.get("ended", "")), default={})
    return {"settings": last.get("settings", {}), "started": None, "finished": last.get("ended")}
