"""`run.json`: what was done with every scan, also across interruptions."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bundle
from bundle.files import remove_unfinished, write_json
from bundle.inferers.case import Case
from bundle.inferers.evaluator import CaseHandler, ScanEvaluator

logger = logging.getLogger("bundle.inference")


class RunRecord(CaseHandler):
    """Keeps `run.json` and tells the evaluator which cases an earlier run has finished.

    A case is finished when the record says so, its label map is there, and its source has the size and time it had then. The
    record is rewritten after every case, aside and then renamed, so that a run killed at any moment goes on where it was.

    Args:
        output_dir: folder of the results.
        settings: what the results depend on, as written to the record: weights, spacing, ...
        overwrite: do every case again.
    """

    def __init__(self, output_dir: str | os.PathLike, settings: Mapping[str, Any] | None = None, overwrite: bool = False) -> None:
        self.path = Path(output_dir) / "run.json"
        self.settings, self.overwrite = {key: _plain(value) for key, value in (settings or {}).items()}, overwrite
        self.entries: dict[str, dict[str, Any]] = {}
        self.started = ""

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Read the record of an earlier run and clear away what it left half-written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.path.parent)
        earlier = _read(self.path)
        present = {str(item["case"]) for item in items}
        self.entries = {entry["case"]: entry for entry in earlier.get("cases", []) if entry.get("case") in present}
        self.started = _now()
        before = earlier.get("settings", self.settings)
        changed = sorted(key for key in self.settings if before.get(key) != self.settings[key])
        if changed and not self.overwrite and any(self.done(item) for item in items):
            what = ", ".join(changed)
            logger.warning(f"{what} changed since the earlier run: finished cases stay as they are (--overwrite true redoes them)")
        self._save(finished=False)

    def done(self, item: dict[str, Any]) -> bool:
        """Whether the record, the label map and the source agree that this case is finished."""
        entry = self.entries.get(str(item["case"]), {})
        if self.overwrite or entry.get("status") != "ok" or entry.get("stamp") != stamp(item):
            return False
        return all((self.path.parent / name).is_file() for name in entry.get("files", []))

    def ended(self, case: Case) -> None:
        """Add or replace the case's entry."""
        entry = {"case": case.name, "source": case.source, "status": "ok" if case.error is None else "failed"}
        if case.error is None:
            entry |= {"output": f"{case.name}_seg.nii.gz", "files": sorted(case.files)}
        else:
            entry |= {"output": None, "files": [], "error": reason(case.error)}
        entry |= {"seconds": {stage: round(value, 3) for stage, value in case.seconds.items()}, "stamp": stamp(case.item)}
        self.entries[case.name] = entry
        self._save(finished=False)

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Note that the run came to its end."""
        self._save(finished=True)

    def _save(self, finished: bool) -> None:
        failed = [name for name, entry in self.entries.items() if entry["status"] != "ok"]
        content = {
            "bundle": bundle.__version__,
            "settings": self.settings,
            "started": self.started,
            "finished": _now() if finished else None,
            "written": len(self.entries) - len(failed),
            "failed": len(failed),
            "cases": [self.entries[name] for name in sorted(self.entries)],
        }
        write_json(self.path, content)


def reason(error: BaseException) -> str:
    """An error in one line of words."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}" if text else type(error).__name__


def stamp(item: Mapping[str, Any]) -> list[int]:
    """Files, bytes and latest change of a source: what tells that it is still the same."""
    files = [item["image"]] if isinstance(item["image"], str) else list(item["image"])
    stats = [os.stat(file) for file in files if os.path.exists(file)]
    return [len(files), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _read(path: Path) -> dict[str, Any]:
    """The record; empty where there is none that can be read (the cases are then done again)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    return json.loads(json.dumps(value, default=str))
