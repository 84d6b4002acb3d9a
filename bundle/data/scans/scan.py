"""One scan, and what a search for scans has found so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.data.scans.case_names import Place
from bundle.data.scans.header_start import read_start
from bundle.data.scans.left_alone import LeftAlone
from bundle.data.scans.walk import Problem, file_problem
from bundle.images.names import VOLUME_ENDINGS, ending, stem

File = str | tuple[str, ...]
LABEL_MAP = Problem("its header says that it is a label map, not a scan", "give the scan that it was made from")


@dataclass(frozen=True)
class Scan:
    """One scan: its place (which makes its name), where it is, and why it cannot be read, if so; files of its further channels.

    `doubt` is what speaks against a scan that can be read.
    """

    place: Place
    source: str  # the file, or the folder of the series
    files: tuple[str, ...]  # one, or the slices of a DICOM series in order
    problem: Problem | None = None
    further: tuple[tuple[str, File], ...] = ()
    doubt: str = ""

    def item(self, name: str) -> dict[str, Any]:
        """The scan as MONAI's dictionary transforms take it: `image` is one path or, for DICOM, the paths of the slices."""
        image = list(self.files) if len(self.files) > 1 else self.files[0]
        why = {"problem": self.problem.words, "fix": self.problem.fix} if self.problem else {}
        why |= {"doubt": self.doubt} if self.doubt else {}
        others = {channel: file if isinstance(file, str) else list(file) for channel, file in self.further}
        return {"image": image, **({"channels": others} if others else {}), "case": name, "source": self.source, **why}


class FoundScans(list):
    """Entries of scans sorted by source, and in `left_alone` a line for each kind of thing that is not a scan."""

    left_alone: list[str]

    def __init__(self, entries: Iterable[dict[str, Any]] = (), left_alone: Iterable[str] = ()) -> None:
        super().__init__(entries)
        self.left_alone = list(left_alone)


@dataclass
class Search:
    """What a search through a folder has found so far."""

    root: Path
    scans: list[Scan] = field(default_factory=list)
    left: list[LeftAlone] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    slices: list[Path] = field(default_factory=list)
    recorded: set[Path] = field(default_factory=set)

    def take(self, path: Path, problem: Problem | None = None) -> None:
        """Note a file, or a folder that cannot be read, as one scan."""
        parts = (*path.parent.relative_to(self.root).parts, stem(path)) if path != self.root else (path.resolve().name,)
        self.scans.append(Scan(place_of(parts, path), str(path), (str(path),), problem))


def place_of(parts: Sequence[str], path: Path) -> Place:
    """The place of a file: of several with one name that of the first ending keeps it, DICOM and folders come last."""
    found = ending(path)
    return Place(tuple(parts), VOLUME_ENDINGS.index(found) if found in VOLUME_ENDINGS else len(VOLUME_ENDINGS), path.name)


def problem_of(path: Path) -> Problem | None:
    """Why a file or folder is no scan, as far as its first bytes say; None where nothing speaks against it."""
    problem = None if path.is_dir() else file_problem(path)
    return problem or (LABEL_MAP if read_start(path).labels else None)
