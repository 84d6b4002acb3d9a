"""The entry of one case in the record: of a result, of a failure that keeps the result before it, and of a result that counts again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bundle
from bundle import files
from bundle.engines.case import Case
from bundle.errors import reason
from bundle.handlers.inference.finished import Wanted
from bundle.handlers.inference.run_tables import failed_rows
from bundle.results import identity, outputs
from bundle.results.records import Entry, own_files

# what a kept result shares with the entry around it
NOT_KEPT = ("kept", "error", "case", "source", "status")


def written(case: Case, wanted: Wanted) -> Entry:
    """The entry of a case whose files are in their places."""
    return {
        "case": case.name,
        "source": files.spelled(identity.source_of(case.item)),
        "status": "ok",
        "output": next((name for name in case.files if name in outputs.label_maps(case.name)), None),
        "files": sorted(case.files),
        **case.identity,
        "settings": wanted.settings,
        "details": wanted.details,
        "options": [option for option in wanted.options if option not in case.lacking],
        "seconds": {stage: round(value, 3) for stage, value in case.seconds.items()},
        "ended": now(),
        "bundle": bundle.__version__,
        "process": files.process(),
        "rows": case.rows,
    }


def failed(case: Case, wanted: Wanted, before: Entry | None) -> Entry:
    """The entry of a case that failed: the result that it had is kept, with everything that is known about it.

    Args:
        case: with its error.
        wanted: what the run makes results of.
        before: the entry that it has now.
    """
    before = before or {}
    # where the files were just being replaced, some may be new: they are no result, and go with the next one
    broken = before.get("status") == "replacing"
    kept = None if broken else before if before.get("status") == "ok" else before.get("kept")
    problem = reason(case.error) if case.error is not None else ""
    entry = {**written(case, wanted), "status": "failed", "output": None, "error": files.spelled(problem)}
    entry["files"] = sorted({*own_files(before), *case.files}) if broken else []
    entry["rows"] = failed_rows(entry, kept)
    if kept:
        entry["kept"] = {name: value for name, value in kept.items() if name not in NOT_KEPT} | {"source": kept["source"]}
    return entry


def result_in(entry: Entry | None) -> Entry | None:
    """The result that an entry tells of: its own, or the one that is kept behind a failure; None where there is none."""
    if entry is None or entry["status"] != "failed":
        return entry
    return {**entry["kept"], "case": entry["case"]} if entry.get("kept") else None


def current(made: Entry, item: Mapping[str, Any]) -> Entry:
    """A result as the entry of this scan: what failed in between is whole again, or the scan has moved, or its files have other times."""
    source = files.spelled(identity.source_of(item))
    if made.get("status") != "ok" or made["source"] != source:
        made = {**made, "status": "ok", "source": source, "rows": [{**row, "source": source} for row in made.get("rows") or []]}
    stamp = identity.stamp(identity.files_of(item))
    return made if made.get("stamp") == stamp else {**made, "stamp": stamp}


def clear(folder: Path, before: Entry, entry: Entry) -> None:
    """Remove the files of the earlier result, or of the one kept behind it, that the new one does not have."""
    old = own_files(before) + own_files({**(before.get("kept") or {}), "case": before["case"]})
    for name in set(old) - set(entry["files"]):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def now() -> str:
    """The time, in UTC, as entries have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime())
