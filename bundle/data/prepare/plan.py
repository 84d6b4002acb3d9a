"""What is to be done with one downloaded data set, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bundle.errors import UserError

K = TypeVar("K")
SECTIONS = {"training": "Tr", "validation": "Va", "test": "Ts"}  # section of the list -> ending of its folders
OWN = ("pancreas", "spleen", "kidney")  # the bundle's default structures, in the network's order


@dataclass(frozen=True)
class PlannedCase:
    """One case: where its image and its label maps are (no label: unlabelled), its section, and what it must stay together with."""

    name: str
    image: Path
    labels: tuple[Path, ...] = ()
    section: str = "training"
    group: str | None = None

    def sources(self) -> list[Path]:
        """All files and folders the case is made of."""
        return [self.image, *self.labels]


@dataclass(frozen=True)
class Targets:
    """Where one case is written: its files without ending."""

    image: Path
    label: Path


Convert = Callable[[PlannedCase, Targets, Mapping], list[str]]  # writes the case, gives warnings about it


@dataclass
class Plan:
    """A data set's cases and the meaning of its label values.

    Args:
        name: the data set's name.
        structures: name to value in the label files as they will be in the output.
        merged: structures that are one for the bundle: name to the names it is made of.
        warnings: what the user should know about this download.
        convert: writes one case where linking its files is not enough; an importable function (it may run in another process).
        links_images: whether `convert` links the images as they are.
        options: passed to `convert`, and what makes two runs the same run.
    """

    name: str
    reference: str
    licence: str
    structures: dict[str, int]
    merged: dict[str, list[str]] = field(default_factory=dict)
    cases: list[PlannedCase] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    convert: Convert | None = None
    links_images: bool = False
    options: dict = field(default_factory=dict)

    def links(self, case: PlannedCase, targets: Targets) -> list[tuple[Path, Path]]:
        """Source and target of each file of a case that is linked and not converted."""
        image = [(case.image, targets.image)]
        if self.convert is None:
            return [*((label, targets.label) for label in case.labels), *image]
        return image if self.links_images else []

    def label_block(self) -> dict[str, int | list[int]]:
        """`labels` to paste for the bundle's own structures: what else is in the files counts as background."""
        parts = {name: self.merged.get(name, [name] if name in self.structures else []) for name in OWN}
        chosen = {name: [self.structures[part] for part in members] for name, members in parts.items() if members}
        if not chosen:  # nothing of the bundle's own: all that there is
            return self.full_block()
        used = {value for values in chosen.values() for value in values}
        background = [0, *sorted(set(self.structures.values()) - used)]
        return {name: values[0] if len(values) == 1 else values for name, values in {"background": background, **chosen}.items()}

    def full_block(self) -> dict[str, int | list[int]]:
        """`labels` to paste for every structure of the data set."""
        return {"background": 0, **self.structures}


def number(name: str | Path) -> int | None:
    """The last number in a file's or folder's name, without its ending: 7 for `label0007.nii.gz`."""
    found = re.findall(r"\d+", Path(name).name.split(".")[0])
    return int(found[-1]) if found else None


def find_folders(source: Path, *wanted: str) -> list[Path]:
    """All folders at or below `source` (three levels at most, the uppermost that there are) that have all of `wanted` in them."""
    level = [source]
    for _ in range(4):
        if found := [folder for folder in level if all(child(folder, name) for name in wanted)]:
            return found
        level = [path for folder in level for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return []


def find_folder(source: Path, *wanted: str) -> Path | None:
    """The first of `find_folders`, None where there is none."""
    return next(iter(find_folders(source, *wanted)), None)


def child(folder: Path, name: str) -> Path | None:
    """The entry of `folder` with that name, in any case of letters."""
    exact = folder / name
    if exact.exists():
        return exact
    return next((path for path in sorted(folder.iterdir()) if path.name.lower() == name.lower()), None)


def children(folder: Path, *names: str) -> list[Path]:
    """The entries of `folder` with those names that there are, in any case of letters."""
    return [path for name in names if (path := child(folder, name)) is not None]


def label_maps(files: Iterable[Path], key: Callable[[Path], K | None]) -> dict[K, Path]:
    """Label maps by what says whose they are, such as `number`; those of which it gives None are left out.

    Raises:
        UserError: two files are for one case: which of them is right, nobody can tell.
    """
    found = _grouped(files, key)
    twice = [paths for paths in found.values() if len(paths) > 1]
    if twice:
        first, second = twice[0][:2]
        more = f", and {len(twice) - 1} more like it" if len(twice) > 1 else ""
        problem = f"{second} is a label map of the same name or number{more}"
        raise UserError(first, problem, "keep one of the two in the download, and move the other elsewhere")
    return {value: paths[0] for value, paths in found.items()}


def by_number(files: Iterable[Path], warnings: list[str]) -> dict[int, Path]:
    """The last number in each image's name to the image; those without a number are left out.

    Of several with one number the first counts, and `warnings` gets a line that names it and the others.
    """
    found = _grouped(files, number)
    for value, (first, *others) in found.items():
        if others:
            warnings.append(f"number {value} is there {len(others) + 1} times: {first} is used, not {', '.join(map(str, others))}")
    return {value: paths[0] for value, paths in found.items()}


def _grouped(files: Iterable[Path], key: Callable[[Path], K | None]) -> dict[K, list[Path]]:
    """Files by their key, in their order; another name of the same file is left out."""
    found: dict[K, list[Path]] = {}
    for path in files:
        value = key(path)
        if value is not None and not any(path.samefile(other) for other in found.setdefault(value, [])):
            found[value].append(path)
    return found


def not_found(source: Path, what: str, layout: str) -> UserError:
    """The error for a folder that is not the data set it is said to be."""
    packed = [path.name for path in sorted(source.iterdir()) if path.name.lower().endswith((".tar", ".zip", ".tgz", ".tar.gz", ".7z"))]
    fix = f"unpack {packed[0]} first" if packed else f"give the folder that holds {layout}"
    return UserError(source, f"holds no {what}", fix)
