"""Parts of a run: which scans each of several machines does, with nothing between them but the folder of results."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle import files
from bundle.errors import UserError
from bundle.results.claims import Claims, make_new

SLURM = "SLURM_ARRAY_TASK_"
# the origin of a part that was not read from there
GIVEN = "--part"
# seconds in which a plan is written
WRITTEN = 60.0


@dataclass(frozen=True)
class Part:
    """Part `number` of `count`, counted from 1; `origin` says where that was read, `uneven` that an array of several tasks has no parts."""

    number: int = 1
    count: int = 1
    origin: str = ""
    uneven: bool = False

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def part_of(given: str | None = None, environment: Mapping[str, str] | None = None) -> Part:
    """The part of this process: the one given, else the one of Slurm's array task, else 1/1, which is everything.

    Args:
        given: such as `3/8`; `1/1` does everything also inside an array.
        environment: variables to read Slurm's from; those of this process by default.

    Raises:
        UserError: the text is not a part.
    """
    if given is not None:
        found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", str(given))
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise UserError("--part", f"{given!r} is not a part", "give K/N, the K-th of N parts counted from 1, such as 3/8")
        return Part(number, count, GIVEN)
    environment = os.environ if environment is None else environment
    index = _whole(environment, "ID")
    return Part() if index is None else _of_array(index, environment)


def _of_array(index: int, environment: Mapping[str, str]) -> Part:
    least, most, step = _whole(environment, "MIN"), _whole(environment, "MAX"), _whole(environment, "STEP") or 1
    if least is None or most is None:
        return Part()
    count = _whole(environment, "COUNT") or (most - least) // step + 1
    origin = f"{SLURM}ID={index} of {least} to {most}"
    number, rest = divmod(index - least, step)
    if least + (count - 1) * step != most or rest or not 0 <= number < count:
        # a list of tasks, such as those of a first try that failed: nobody says which of them this one is
        return Part(1, 1, f"{origin}, which is not evenly spaced", uneven=True)
    return Part(number + 1, count, origin)


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(SLURM + name, "")
    return int(text) if text.isdigit() else None


def digest_part(name: str, count: int) -> int:
    """The part that a name falls into by its digest alone, from 1 to `count`."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") % count + 1


def even_parts(sizes: Mapping[str, float], count: int) -> dict[str, int]:
    """Names to parts from 1 to `count`, of about the same size each: the largest first, each to the part that has least so far."""
    import heapq

    parts = [(0.0, 0, number) for number in range(1, count + 1)]
    given = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        size, cases, number = heapq.heappop(parts)
        given[name] = number
        heapq.heappush(parts, (size + sizes[name], cases + 1, number))
    return given


class Parts:
    """What a folder of results knows about the parts of a run: the plan that the first one made, and which have ended.

    The plan holds for all parts, so that none depends on what another machine sees of the data set, or sees in another order.

    Args:
        folder: where the records of the cases are (`.records`).
        count: number of parts.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.claims = folder, count, Claims(folder)

    def plan(self, sizes: Mapping[str, float]) -> dict[str, int]:
        """Name to part, as the first process planned it; names that it did not see are in the part of their digest.

        Args:
            sizes: name to bytes of each scan, as this process sees them.

        Raises:
            UserError: the plan is damaged.
        """
        path = self._plan_path()
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                make_new(path, json.dumps(even_parts(sizes, self.count)))
        planned, end = _json(path), time.monotonic() + WRITTEN
        while not isinstance(planned, dict) and time.monotonic() < end:  # being written, on a file system without links
            time.sleep(0.2)
            planned = _json(path)
        if not isinstance(planned, dict):
            raise UserError(path, "the plan of the parts cannot be read", "remove this file and start all parts again")
        return {name: planned.get(name) or digest_part(name, self.count) for name in sizes}

    def planned(self) -> dict[str, int]:
        """The plan as it is in the folder; empty where there is none."""
        found = _json(self._plan_path())
        return found if isinstance(found, dict) else {}

    def begin(self, number: int, content: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Note that a part is being done. Gives what was noted of it before, with `alive` where another process is doing it now."""
        before = self.mark(number)
        alone = self.claims.take(_name(number, self.count))
        self._write(number, {**content, "state": "running"})
        if not alone:
            return {**(before or {}), "alive": True}
        return before

    def end(self, number: int, content: Mapping[str, Any], over: bool) -> None:
        """Note that a part has ended, and let go of it; one that is not `over` stays unfinished."""
        if over:
            self._write(number, {**content, "state": "finished"})
        self.claims.give_all_back()

    def mark(self, number: int) -> dict[str, Any] | None:
        """What is noted of a part; None where it has not begun."""
        found = _json(self.folder / f"{_name(number, self.count)}.json")
        return found if isinstance(found, dict) else None

    def marks(self) -> list[dict[str, Any]]:
        """What is noted of the parts that have begun."""
        return [mark for mark in map(self.mark, range(1, self.count + 1)) if mark is not None]

    def unfinished(self) -> dict[int, str]:
        """Parts that have not ended, each with what is known of it."""
        found = {}
        for number in range(1, self.count + 1):
            mark = self.mark(number)
            if mark is None:
                found[number] = "not started"
            elif mark.get("state") != "finished":
                living = self.claims.others(_name(number, self.count))
                found[number] = "running" if living else f"stopped before its end (process {mark.get('process', 'unknown')})"
        return found

    def _plan_path(self) -> Path:
        return self.folder / f".plan_of_{self.count}.json"

    def _write(self, number: int, content: Mapping[str, Any]) -> None:
        files.write_json(self.folder / f"{_name(number, self.count)}.json", {"part": number, "of": self.count, **content})


def counts(folder: Path) -> list[int]:
    """The numbers of parts into which the runs in a folder were divided, the last one first."""
    found = [
        (path.stat().st_mtime, int(match[1]))
        for path in folder.glob(".part_*.json")
        if (match := re.search(r"_of_(\d+)\.json$", path.name))
    ]
    return list(dict.fromkeys(count for _, count in sorted(found, reverse=True)))


def whole_run(folder: Path) -> dict[str, Any]:
    """What `run.json` says of a run in parts: the settings of the one that began first, from its start to the last one's end.

    Args:
        folder: where the records are.
    """
    runs = [mark["run"] for count in counts(folder)[:1] for mark in Parts(folder, count).marks() if isinstance(mark.get("run"), dict)]
    if not runs:
        return {}
    runs.sort(key=lambda run: str(run.get("started")))
    ends = [str(run["finished"]) for run in runs if run.get("finished")]
    return {**runs[0], "finished": max(ends) if ends else None}


def told(unfinished: Mapping[int, str], count: int) -> str:
    """Unfinished parts as a person reads them: `part 2 running, part 5 not started`."""
    by_state: dict[str, list[int]] = {}
    for number, state in unfinished.items():
        by_state.setdefault(state, []).append(number)
    return "; ".join(f"{_numbers(numbers)} of {count} {state}" for state, numbers in by_state.items())


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10])) + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
    return f"part {shown}" if len(numbers) == 1 else f"parts {shown}"


def _name(number: int, count: int) -> str:
    return f".part_{number}_of_{count}"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
