"""What the page knows about each case: from `cases.csv`, `run.json` and the files that are there. The same for the same results."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.pictures.slices import TILE
from bundle.quality.cases import read_cases_csv
from bundle.quality.reason_kinds import FAILED, KINDS, SCAN, kind_of
from bundle.results import outputs
from bundle.structures import colours

Row = Mapping[str, str]
# what is linked where it is next to the page, by the ending behind the name of the case
LINKS = (
    *(("label map", ending) for ending in outputs.LABEL_MAP_ENDINGS.values()),
    ("DICOM SEG", outputs.DICOM_SEG_ENDING),
    ("RTSTRUCT", outputs.RTSTRUCT_ENDING),
    ("probabilities", outputs.PROBABILITIES_ENDING),
    ("three planes", outputs.PREVIEW_ENDING),
    ("attention", outputs.ATTENTION_ENDING),
)
FAILED_CASE, REVIEW, GOOD = range(3)
# columns of a structure, in the order in which the page's scripts read them
MEASURED = (
    "volume_ml",
    "mean_hu",
    "sd_hu",
    "components",
    "touches_border",
    "left_out_ml",
    "confidence_mean",
    "expected_dice",
    "flip_disagreement",
)
# a case done again, or a scan that moved, is the same result where the rest is the same
NOT_THE_RESULT = ("source", "seconds")


def page_data(folder: Path) -> dict[str, Any]:
    """Cases, the most urgent first, structures, and what made the results: ready for JSON."""
    rows: dict[str, list[Row]] = {}
    for row in read_cases_csv(folder):
        rows.setdefault(row["case"], []).append(row)
    record = _record(folder)
    entries = {entry["case"]: entry for entry in record.get("cases") or []}
    fullest = sorted(rows.values(), key=len, reverse=True)
    structures = list(dict.fromkeys(row["structure"] for case in fullest for row in case if row["structure"]))
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    kinds = [FAILED, *KINDS, SCAN]
    cases = [_case(case, structures, kinds, entries.get(case[0]["case"], {}), there) for case in sorted(rows.values(), key=_urgency)]
    used = [kind for index, kind in enumerate(kinds) if any(index in case["kinds"] for case in cases)]
    for case in cases:
        case["kinds"] = [used.index(kinds[index]) for index in case["kinds"]]
    return {
        "structures": [{"name": name, "colour": colour} for name, colour in _colours(folder, structures).items()],
        "kinds": used,
        "endings": {"preview": outputs.PREVIEW_ENDING, "slices": outputs.SLICES_ENDING, "links": [list(link) for link in LINKS]},
        "tile": list(TILE),
        "made": _made(record),
        "cases": cases,
    }


def _urgency(rows: Sequence[Row]) -> tuple[int, float, str]:
    score = _number(rows[0]["score"])
    return _verdict(rows[0]), 1.0 if score is None else score, rows[0]["case"]


def _verdict(first: Row) -> int:
    return FAILED_CASE if first["status"] != "ok" else REVIEW if first["review"] == "yes" else GOOD


def _case(
    rows: Sequence[Row], structures: Sequence[str], kinds: Sequence[str], entry: Mapping[str, Any], there: set[str]
) -> dict[str, Any]:
    first, by_name = rows[0], {row["structure"]: row for row in rows}
    name, verdict = first["case"], _verdict(rows[0])
    reasons = [reason for reason in first["reasons"].split("; ") if reason and verdict != FAILED_CASE]
    return {
        "name": name,
        "id": _identity(rows, entry),
        "source": first["source"],
        "verdict": verdict,
        "error": first["error"],
        "reasons": reasons,
        "kinds": [kinds.index(kind) for kind in ([FAILED] if verdict == FAILED_CASE else map(kind_of, reasons))],
        "score": _number(first["score"]),
        "seconds": _number(first["seconds"]),
        "voxels": first["voxels"],
        "spacing": first["spacing_mm"],
        "preview": outputs.preview(name) in there,
        "slices": outputs.slices(name) in there,
        "files": [place for place, (_, ending) in enumerate(LINKS) if name + ending in there],
        "measured": [_measured(by_name.get(structure)) for structure in structures],
    }


def _measured(row: Row | None) -> list[float | int | None] | None:
    if row is None:
        return None
    return [(1 if row[column] == "yes" else 0) if column == "touches_border" else _number(row[column]) for column in MEASURED]


def _identity(rows: Sequence[Row], entry: Mapping[str, Any]) -> str:
    """A short text that changes with the result, so that a note is known to be about another one."""
    said = [{name: value for name, value in row.items() if name not in NOT_THE_RESULT} for row in rows]
    text = json.dumps([said, entry.get("digest"), entry.get("settings")], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:12]


def _record(folder: Path) -> dict[str, Any]:
    """`run.json`, as far as it is one."""
    try:
        content = json.loads((folder / outputs.RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    cases = content.get("cases")
    return {**content, "cases": [case for case in cases if isinstance(case, dict) and "case" in case] if isinstance(cases, list) else []}


def _made(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each set of settings that results were made with, most cases first: number of cases, and (name, value) in words."""
    sets: Counter[str] = Counter()
    for entry in record.get("cases") or []:
        if entry.get("status") == "ok" and isinstance(entry.get("settings"), dict):
            sets[json.dumps([entry.get("bundle"), entry["settings"]])] += 1
    run = record.get("settings")
    run = run if isinstance(run, dict) else {}
    made = []
    for text, count in sets.most_common():
        version, settings = json.loads(text)
        path = run.get("ckpt_path") if settings.get("weights") == run.get("weights", settings.get("weights")) else None
        shown = {"bundle": version, "weights": path, "SHA-256 of the weights": settings.get("weights")}
        shown |= {name: value for name, value in settings.items() if name != "weights"}
        made.append({"cases": count, "settings": [[name, _words(value)] for name, value in shown.items() if value is not None]})
    return made


def origin(folder: Path, data: Mapping[str, Any]) -> str:
    """One line about what made the results, and when."""
    record, said = _record(folder), "cases.csv holds the figures."
    ended = max((str(entry["ended"]) for entry in record.get("cases") or [] if entry.get("ended")), default="")
    for made in data["made"][:1]:
        settings = dict(made["settings"])
        digest = settings.get("SHA-256 of the weights", "")
        weights = f"weights {settings.get('weights', 'of another run')}" + (f" (SHA-256 {digest[:12]}...)" if digest else "")
        said += f" Made by bundle {settings.get('bundle', '?')} with the {weights}."
    return said + (f" Last result: {ended[:16].replace('T', ' ')} UTC." if ended else "")


def _colours(folder: Path, structures: Sequence[str]) -> dict[str, str]:
    """Structure to its colour as `labels.txt` has it, which a run writes next to its results; else that of the table."""
    found = colours(structures)
    try:
        text = (folder / outputs.LABEL_NAMES).read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    for red, green, blue, name in re.findall(r'(?m)^\d+ (\d+) (\d+) (\d+) .*"(.*)"$', text):
        if name in found:
            found[name] = int(red), int(green), int(blue)
    return {name: "#" + "".join(f"{min(255, shade):02x}" for shade in colour) for name, colour in found.items()}


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(text: str) -> float | int | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return None if not math.isfinite(value) else int(value) if value.is_integer() else value
