"""Sharing out a folder of scans: between processes that torchrun started, and between parts on machines that know nothing of each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import distributed, files
from bundle.data.scans.find import FoundScans
from bundle.errors import UserError, counted, say
from bundle.results import identity, outputs
from bundle.results.parts import Part, Parts, even_parts, part_of, told

Item = dict[str, Any]


class Share:
    """Which scans this process does, in which order, and whether it is the one that makes the tables and the page.

    Processes of torchrun share through claims on the cases (`bundle.results.claims`): each begins with scans of its own, the
    largest first, and then takes what the others have not begun. They send each other nothing, so that one that dies stops no
    other. The first process makes the tables when all cases are over.

    Parts (`--part 3/8`, Slurm's arrays) do their own scans only. The part that ends last makes the tables, or the verb `merge`.

    Args:
        output_dir: folder of the results, the same for all.
        part: such as `3/8`; None takes Slurm's array variables, where they are set.
        claims: whether a handler claims cases (`bundle.handlers.inference.run_record.RunRecord`). Without one only parts share.

    Raises:
        UserError: without claims several processes of torchrun, or tasks of an array that says no parts, would each do all scans.
    """

    def __init__(self, output_dir: str | os.PathLike, part: str | None = None, claims: bool = True) -> None:
        self.folder = Path(output_dir).expanduser()
        self.part: Part = part_of(part)
        self.parts = Parts(self.folder / outputs.RECORDS, self.part.count)
        self.rank, self.size = distributed.rank(), distributed.size()
        self.ended = False
        self.waits_for: dict[int, str] = {}
        self.claims = claims
        if not claims and self.size > 1:
            fix = "leave out torchrun, and give each process a --part of the scans, such as 1/2 and 2/2"
            raise UserError("torchrun", f"its {self.size} processes would each do all scans with these configs", fix)
        if not claims and self.part.uneven:
            problem = f"the tasks of this array would each do all scans with these configs ({self.part.origin})"
            raise UserError("--part", problem, "give each task its --part, such as 1/2 and 2/2, or 1/1 for scans of its own")

    @property
    def keeps_tables(self) -> bool:
        """Whether this process writes the tables while it works: the first one of a run that is not divided into parts."""
        return self.rank == 0 and self.part.count == 1

    def of(self, scans: Sequence[Item]) -> FoundScans:
        """The scans of this process, in the order in which it does them; `left_alone` says in a line which these are.

        Args:
            scans: all scans, as every process finds them.
        """
        items, said = list(scans), []
        if self.part.count > 1:
            sizes = {str(item["case"]): size_of(item) for item in items}
            planned, seen = self.parts.plan(sizes), self.parts.planned()
            mine = [item for item in items if planned[str(item["case"])] == self.part.number]
            said = [f"part {self.part} ({self.part.origin}): {len(mine)} of {counted(len(items), 'scan')}"]
            other = len(sizes.keys() ^ seen.keys())
            said += (
                [f"{counted(other, 'scan')} differ from the plan of the part that began first: is the folder the same?"] if other else []
            )
            items = mine
        elif self.part.origin and self.claims:
            said = [f"part 1/1 ({self.part.origin}): processes at work on this folder share all {counted(len(items), 'scan')}"]
        if self.size > 1 or self.part.count > 1:
            items = in_order(items, self.rank, self.size)
        if self.size > 1:
            said += [f"{self.size} processes share {counted(len(items), 'scan')}"]
        return FoundScans(items, [*said, *getattr(scans, "left_alone", ())])

    def begin(self, run: Mapping[str, Any]) -> None:
        """Note that this part has begun, and say where it is not the only one of its number.

        Args:
            run: what `run.json` says of this run: settings, started, finished.
        """
        if self.part.count == 1 or self.rank > 0:
            return
        before = self.parts.begin(self.part.number, {"run": dict(run), "process": _process()})
        if before and before.get("alive"):
            say(f"part {self.part} is being done by another process too ({before.get('process')}): the two share its scans")
        elif before and before.get("state") == "finished":
            say(f"part {self.part} was finished before, {(before.get('run') or {}).get('finished')}: what is unchanged is left as it is")
        elif before:
            say(f"part {self.part} was begun before and did not end ({before.get('process')}): it continues")

    def end(self, run: Mapping[str, Any], over: bool) -> bool:
        """Note that this process has ended; gives whether it is the one that makes the tables and the page now.

        Args:
            run: as in `begin`.
            over: whether every scan of this process has a result or a reason why not.
        """
        self.ended = self.rank == 0
        if self.part.count > 1 and self.rank == 0:
            self.parts.end(self.part.number, {"run": dict(run), "process": _process()}, over)
            self.waits_for = self.parts.unfinished()
            self.ended = not self.waits_for
            if self.waits_for:
                waits = told(self.waits_for, self.part.count)
                say(f"{waits}: the part that ends last makes the tables, or: python -m bundle merge {files.spelled(self.folder)}")
            else:
                say(f"all {self.part.count} parts have ended")
        return self.ended

    def only_the_last(self) -> None:
        """End this process here, unless it is the one that ends last: what follows is about the results of all.

        Raises:
            SystemExit: with code 0.
        """
        if self.rank > 0 or self.waits_for:
            raise SystemExit(0)


def in_order(items: Sequence[Item], rank: int = 0, size: int = 1) -> list[Item]:
    """Entries in the order in which one of several processes tries them: its own, the largest first, then the others', smallest first.

    Args:
        items: of all processes.
        rank: number of the process, from 0.
        size: number of processes.
    """
    sizes = {str(item["case"]): size_of(item) for item in items}
    given = even_parts(sizes, size)
    ordered = sorted(items, key=lambda item: (-sizes[str(item["case"])], str(item["case"])))
    own = [item for item in ordered if given[str(item["case"])] == rank + 1]
    return own + [item for item in reversed(ordered) if given[str(item["case"])] != rank + 1]


def size_of(item: Mapping[str, Any]) -> float:
    """Bytes of a scan's files; of many slices so many times the first one's. 0 where they cannot be asked."""
    image = item["image"]
    if isinstance(image, (list, tuple)) and image:
        return float(len(image) * max(0, identity.size([str(image[0])])))
    return float(max(0, identity.size(identity.files_of(item))))


def _process() -> str:
    return f"{os.getpid()} on {os.uname().nodename if hasattr(os, 'uname') else files.place()}"
