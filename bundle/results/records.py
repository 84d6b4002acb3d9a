"""The records of the cases in a folder of results: one small file a case, so that any number of processes can write them.

`.records/<case>.json` is the truth: renamed into place, it is whole at any moment, on network file systems too, and two
processes never write over each other's cases. `run.json` and `cases.csv` are made from these files. Where the hidden folder
is missing (a copy of `OUT/*`) or of a version before it, the two tables are read back.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bundle import files
from bundle.results import outputs

Entry = dict[str, Any]


class Records:
    """Entries of all cases of a folder, by name; names are compared as a file system that ignores case does.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.hidden = self.folder / outputs.RECORDS
        self._entries: dict[str, Entry] = {}
        self._seen: dict[str, tuple[int, ...]] = {}

    def open(self, table_rows: Callable[[], Mapping[str, Sequence[Mapping[str, Any]]]] = dict) -> None:
        """Make the folder, clear away what killed processes left, and read what is recorded.

        Args:
            table_rows: gives case to its rows of `cases.csv`: asked where `run.json` has entries without a record.

        Raises:
            OSError: the folder cannot be made or written.
        """
        self.hidden.mkdir(parents=True, exist_ok=True)
        for place in (self.folder, self.hidden):
            files.remove_unfinished(place)
        with files.written_aside(self.hidden / ".probe") as aside:
            aside.touch()
        (self.hidden / ".probe").unlink(missing_ok=True)
        self.refresh()
        lost = [entry for entry in _cases(self.folder / outputs.RECORD) if key(entry["case"]) not in self._entries]
        rows = table_rows() if lost else {}
        for entry in lost:
            with suppress(OSError):
                self.save({**entry, "rows": list(rows.get(entry["case"], []))})

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """All entries, sorted by name."""
        # a copy first: the loading and the writing thread both add to it
        return iter([entry for _, entry in sorted(self._entries.copy().items())])

    def get(self, case: str) -> Entry | None:
        """The entry of a case, as it was at the last `refresh`, `reread` or `save`."""
        return self._entries.get(key(case))

    def save(self, entry: Entry) -> None:
        """Put an entry in the place of the one of its name."""
        path = self._path(entry["case"])
        files.write_json(path, entry)
        self._entries[key(entry["case"])] = entry
        with suppress(OSError):
            self._seen[path.name] = _stamp(os.stat(path))

    def reread(self, case: str) -> Entry | None:
        """The entry of a case as it is now, whichever process wrote it."""
        entry = _read(self._path(case))
        if entry is not None:
            self._entries[key(case)] = entry
        return self.get(case)

    def refresh(self) -> None:
        """Read what other processes wrote since the last time."""
        with os.scandir(self.hidden) as found:
            for file in found:
                if file.name.startswith(".") or not file.name.endswith(".json"):
                    continue
                with suppress(OSError):
                    now = _stamp(file.stat())
                    if self._seen.get(file.name) != now and (entry := _read(Path(file.path))):
                        self._entries[key(entry["case"])] = entry
                        self._seen[file.name] = now

    def _path(self, case: str) -> Path:
        return self.hidden / f"{case}.json"


class Shown:
    """The entries of a folder without the cases of which nothing is left.

    Args:
        records: of the folder.
        hidden: names of these cases.
    """

    def __init__(self, records: Records, hidden: set[str]) -> None:
        self._records, self._hidden = records, hidden

    def get(self, case: str) -> Entry | None:
        """The entry of a case; None where there is none to show."""
        entry = self._records.get(case)
        return None if entry is None or entry["case"] in self._hidden else entry


def key(case: str) -> str:
    """A name as file systems compare it that ignore case and the way accents are stored."""
    return unicodedata.normalize("NFC", case).casefold()


def own_files(entry: Mapping[str, Any]) -> list[str]:
    """The files that an entry lists, as far as they are names within the folder that begin with the case's."""
    listed = entry.get("files")
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    maps = outputs.label_maps(str(entry["case"]))
    return [name for name in names if (name.startswith(f"{entry['case']}_") or name in maps) and os.path.basename(name) == name]


def past(folder: Path, entries: Iterable[Mapping[str, Any]], sees_scans: bool = False) -> set[str]:
    """The cases of which nothing is left: the label map is gone, or the case failed and its source is gone.

    Args:
        folder: of the results.
        entries: of its cases.
        sees_scans: whether this machine is known to have the scans. Where it is not and no source of any entry is to be seen, as outside of
            the container that read them, no source counts as gone.
    """
    everything = list(entries)
    without = {entry["case"] for entry in everything if entry["status"] == "ok" and not _has_label_map(folder, entry["case"])}
    failed = [entry for entry in everything if entry["status"] == "failed" and not entry.get("kept")]
    gone = {entry["case"] for entry in failed if not _is_there(entry["source"])}
    if gone and (sees_scans or any(_is_there(entry["source"]) for entry in everything)):
        without |= gone
    return without


def _has_label_map(folder: Path, case: str) -> bool:
    return any((folder / name).is_file() for name in outputs.label_maps(case))


def _is_there(source: str) -> bool:
    """Whether a source is there: a file, a folder, or a place in a zip file, as `bundle.files.spelled` writes it."""
    for path in (source, files.unspelled(source)):
        if os.path.lexists(path) or any(os.path.isfile(parent) for parent in Path(path).parents):
            return True
    return False


def result_files(folder: str | os.PathLike) -> set[str]:
    """Names of the files in a folder that its records call results, kept ones among them; nothing is written or made."""
    folder = Path(folder)
    entries = _cases(folder / outputs.RECORD)
    with suppress(OSError):
        entries += [entry for path in (folder / outputs.RECORDS).glob("*.json") if (entry := _read(path))]
    kept = [{**entry["kept"], "case": entry["case"]} for entry in entries if isinstance(entry.get("kept"), dict)]
    return {name for entry in [*entries, *kept] for name in own_files(entry)}


def _cases(path: Path) -> list[Entry]:
    """The entries of a `run.json`; none where it is missing or not one of inference."""
    content = _json(path)
    cases = content.get("cases") if isinstance(content, dict) else None
    return [entry for entry in cases or [] if _is_entry(entry)] if isinstance(cases, list) else []


def _read(path: Path) -> Entry | None:
    entry = _json(path)
    return entry if _is_entry(entry) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in ("case", "source", "status")):
        return False
    case = entry["case"]
    return bool(case) and os.path.basename(case) == case and not case.startswith(".")


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ino
