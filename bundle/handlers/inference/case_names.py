"""Names in a folder of results that holds more than this run's: no scan gets the name of another one's result."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bundle.errors import counted
from bundle.files import spelled
from bundle.results import identity
from bundle.results.outputs import LONGEST_CASE
from bundle.results.records import key

logger = logging.getLogger("bundle.inference")
Item = dict[str, Any]
# of scans that have another name now, how many are named
SHOWN = 5


class Known(Protocol):
    """What a folder holds."""

    def get(self, case: str, /) -> Mapping[str, Any] | None:
        """The entry of a case; None where there is none."""


def named_apart(items: Sequence[Item], records: Known, taken: Iterable[str] = ()) -> list[Item]:
    """The entries of a run, each under a name that no other scan has in the folder.

    A name that the folder has for another scan gets the name of the source's folder before it, and, where that is taken
    too, a digest of the source's path behind it: the same source gets the same name in every run.

    Args:
        items: entries of `bundle.data.scans.find_scans`.
        records: what the folder holds.
        taken: names that other scans of the run have.
    """
    mine = {key(name) for name in (*taken, *(str(item["case"]) for item in items))}
    named = []
    for item in items:
        case = str(item["case"])
        entry = records.get(case)
        if entry is None or is_of(entry, item):
            named.append(item)
            continue
        name = next(name for name in _candidates(case, item) if key(name) not in mine and is_free(records.get(name), item))
        mine.add(key(name))
        logger.warning("%s is the name of %s in this folder: %s is named %s", case, entry["source"], spelled(item["source"]), name)
        named.append({**item, "case": name})
    return named


def warn_of_former_names(items: Sequence[Item], entries: Iterable[Mapping[str, Any]]) -> None:
    """Say in one line which scans of a run have a result under another name in the folder, as after `dataset_dir` was widened.

    Both count in every table. Of the series of one DICOM folder, whose source is the folder, the stamp of the files tells which it is.

    Args:
        items: entries as `named_apart` gives them.
        entries: what the folder holds and shows.
    """
    mine: dict[str, list[Item]] = {}
    for item in items:
        mine.setdefault(spelled(identity.source_of(item)), []).append(item)
    names = {key(str(item["case"])) for item in items}
    former: dict[str, list[str]] = {}
    for entry in entries:
        for item in mine.get(entry["source"], []):
            same = not os.path.isdir(entry["source"]) or entry.get("stamp") == identity.stamp(identity.files_of(item))
            if key(entry["case"]) not in names and same:
                former.setdefault(str(item["case"]), []).append(f"{entry['case']} is {item['case']} now")
    if former:
        told = [line for lines in former.values() for line in lines]
        more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        logger.warning(
            "%s a result under another name in this folder (%s%s): both rows stay; "
            "delete the files of the old one, or use another --output_dir",
            counted(len(former), "scan has", "scans have"),
            ", ".join(told[:SHOWN]),
            more,
        )


def is_free(entry: Mapping[str, Any] | None, item: Mapping[str, Any]) -> bool:
    """Whether a name has no entry, or one of this very scan."""
    return entry is None or is_of(entry, item)


def is_of(entry: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether an entry is of this scan: it came from the same place, or the same bytes came from a path that is gone (a move).

    The same bytes at two places that both exist are two scans: each gets its row. Two paths by links to one file or folder are one place.
    """
    source = identity.source_of(item)
    if entry["source"] == spelled(source):
        return True
    if os.path.lexists(entry["source"]):
        return os.path.realpath(entry["source"]) == os.path.realpath(source)
    made = entry.get("kept") or entry
    if not made.get("digest") or made.get("bytes") != identity.size(identity.files_of(item)):
        return False
    try:
        return made["digest"] == identity.scan_digest(item)
    except OSError:
        return False


def _candidates(case: str, item: Mapping[str, Any]) -> Sequence[str]:
    source = identity.source_of(item)
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()
    parts = [_plain(part) for part in Path(source).parent.parts[1:]]
    # folders that the name has already: of /data/pat_a/ct.nii.gz named pat_a_ct, the next one up is data
    for count in range(len(parts), 0, -1):
        if case.startswith("_".join(parts[-count:]) + "_"):
            parts = parts[:-count]
            break
    longer = [f"{parts[-1]}_{case}"] if parts else []
    names = [*longer, *(f"{name}_{digest[:8]}" for name in (*longer, case)), f"{case}_{digest[:32]}"]
    return [name if len(name.encode("utf-8", "replace")) <= LONGEST_CASE else _shortened(name, digest) for name in names]


def _plain(part: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.+" else "_" for c in part).strip(".") or "_"


def _shortened(name: str, digest: str) -> str:
    kept = name.encode("utf-8", "replace")[: LONGEST_CASE - 33].decode("utf-8", "ignore")
    return f"{kept}_{digest[:32]}"
