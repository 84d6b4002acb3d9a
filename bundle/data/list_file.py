"""Reading a list of cases that somebody wrote as JSON: MSD's `dataset.json`, MONAI's datalist.

Whatever is wrong in it is one line for each kind of mistake: the file, the place (`training[3].image`), what is there, the fix.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.channels import CT, Channel
from bundle.data.datalist import Case, Listing
from bundle.data.listed_channels import channel_files, check_modalities, without_channel
from bundle.data.listed_files import Finder, stem
from bundle.errors import UserError, counted
from bundle.json_input import kind, read_object

EXAMPLE = '{"training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]}'
# key of the file -> section of the split; None leaves it to the folds
SECTION_OF = {"training": None, "validation": "validation", "test": "test", "testing": "test"}
MEANING = 'write "labels": {"0": "background", "1": "pancreas"} (MSD) or {"background": 0, "pancreas": 1} (nnU-Net)'


@dataclass(frozen=True)
class Entry:
    """One case as the list has it, each value of the right type: where it is in the file, and what it says."""

    place: str
    section: str | None
    image: str
    label: str | None
    fold: int | None
    group: str | None
    case: str | None
    further: tuple[str, ...] = ()  # files of the channels behind the first
    labelled: tuple[str, ...] | None = None  # structures that the label map has, where it leaves others out


class Mistakes:
    """The problems of one file, one line for each kind: the first of its kind, and how many more there are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: dict[str, tuple[str, str]] = {}
        self.count: Counter[str] = Counter()

    def add(self, sort: str, problem: str, fix: str) -> None:
        """Note a mistake of some sort."""
        self.first.setdefault(sort, (problem, fix))
        self.count[sort] += 1

    def errors(self) -> list[UserError]:
        """A `UserError` for each kind."""
        more = {sort: f" (and {number - 1} more like it)" if number > 1 else "" for sort, number in self.count.items()}
        return [UserError(self.path, problem + more[sort], fix) for sort, (problem, fix) in self.first.items()]


def from_json(path: Path, base: Path | None = None, channels: Sequence[Channel] = (CT,)) -> Listing:
    """Cases of a MONAI datalist JSON or an MSD `dataset.json`, where paths start at `base` or at the JSON's own folder.

    Args:
        path: the JSON.
        base: where paths start.
        channels: what a case has. Where there are several, an image is a list of files, or the first of nnU-Net's `a_0000.nii.gz`,
            `a_0001.nii.gz`, or one file that holds all channels.

    Raises:
        UserError: the file is not readable as JSON, or does not hold an object. What is wrong further in is in `problems`.
    """
    content = read_object(path, EXAMPLE)
    mistakes = Mistakes(path)
    listing = Listing(str(path), value_names=value_names(content, mistakes))
    check_modalities(content, channels, mistakes)
    further = [channel.name for channel in channels[1:]]
    finder = Finder([folder for folder in (base, path.parent) if folder is not None])
    found = []
    for entry in _unique(_entries(content, mistakes, further), finder, mistakes):
        image, label = (finder.file(name) if name else None for name in (entry.image, entry.label))
        lost = [key for key, name, file in (("image", entry.image, image), ("label", entry.label, label)) if name and not file]
        for key in lost:
            mistakes.add(f"no {key}", *_missing(entry, key, finder))
        others = channel_files(entry, image, further, finder, mistakes)
        if label is None and entry.section != "test" and not lost:
            fix = 'add its "label", or list it under "test"'
            mistakes.add("no label", f"this image has no label: {entry.place}, {entry.image}", fix)
        if image and not lost:
            found.append((entry, image, label, others))
    names = _names([(without_channel(image, others), entry.case) for entry, image, _, others in found])
    for name, (entry, image, label, others) in zip(names, found, strict=True):
        listing.cases.append(Case(name, image, label, entry.section if label else None, entry.fold, entry.group, others, entry.labelled))
    for name, number in Counter(case.name for case in listing.cases).items():
        if number > 1:
            mistakes.add("name", f"the case {name} is listed {number} times", "list each case once")
    listing.problems += mistakes.errors()
    if not listing.cases and not listing.problems:
        listing.problems.append(UserError(path, "it lists no case", f"write {EXAMPLE}"))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def has_list(content: dict[str, Any]) -> bool:
    """Whether a `dataset.json` lists its cases (MSD's does, nnU-Net's does not): any that has a label, in whatever section."""
    for key, section in SECTION_OF.items():
        entries = content.get(key, [])
        if not isinstance(entries, list):
            return True  # it means to; `from_json` says what is wrong
        if any(section != "test" or (isinstance(entry, dict) and entry.get("label")) for entry in entries):
            return True
    return False


def value_names(content: dict[str, Any], mistakes: Mistakes) -> dict[int, str]:
    """Meaning of the label values as `dataset.json` states it: `{"1": "pancreas"}` (MSD) or `{"pancreas": 1}` (nnU-Net)."""
    labels = content.get("labels", {})
    if not isinstance(labels, dict):
        mistakes.add("labels", f'"labels" is {kind(labels)}, not an object', MEANING)
        return {}
    meaning: dict[int, str] = {}
    for key, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if isinstance(value, str) and key.lstrip("-").isdecimal():
            meaning[int(key)] = value
        elif values and all(isinstance(item, int) and not isinstance(item, bool) for item in values):
            meaning.update(dict.fromkeys(values, key))
        else:
            mistakes.add("labels", f'labels["{key[:60]}"] is {kind(value)}', MEANING)
    return meaning


def places(content: dict[str, Any], mistakes: Mistakes, example: str) -> Iterator[tuple[str, str | None, Any]]:
    """What each section lists: its place (`training[3]`), its section of the split, and what is there.

    Args:
        content: of the file.
        mistakes: gets the sections that are no list.
        example: of a list of `training`, for the fix.
    """
    for key, section in SECTION_OF.items():
        listed = content.get(key, [])
        if not isinstance(listed, list):
            mistakes.add(key, f'"{key}" is {kind(listed)}, not a list', f"write {example.replace('training', key)}")
            continue
        for index, value in enumerate(listed):
            yield f"{key}[{index}]", section, value


def _entries(content: dict[str, Any], mistakes: Mistakes, further: Sequence[str]) -> Iterator[Entry]:
    """The entries that have the right shape; the others are noted."""
    for place, section, value in places(content, mistakes, EXAMPLE):
        alone = isinstance(value, str) or (bool(further) and isinstance(value, list))
        entry = _entry(place, {"image": value} if alone else value, section, mistakes, further)
        if entry is not None and not os.path.basename(entry.image).startswith("._"):  # macOS' resource forks, in some copies of MSD
            yield entry


def _entry(place: str, value: Any, section: str | None, mistakes: Mistakes, further: Sequence[str]) -> Entry | None:
    if not isinstance(value, dict):
        mistakes.add("entry", f"{place} is {kind(value)}, which names no image file", 'write {"image": "path", "label": "path"}')
        return None
    good = True
    files = value.get("image")
    if further and isinstance(files, list):
        if len(files) != len(further) + 1 or not all(isinstance(file, str) and file.strip() for file in files):
            names = ", ".join(("the CT", *further))
            there = counted(len(files), "entry", "entries")
            problem = f"{place}.image has {there}, and the network takes {len(further) + 1} channels ({names})"
            mistakes.add("channels", problem, "list the file of each channel, in this order")
            return None
        value = {**value, "image": files[0]}
    for key in ("image", "label"):
        path = value.get(key, "" if key == "image" else None)
        if (path is None and key == "label" and key not in value) or (isinstance(path, str) and path.strip() and "\0" not in path):
            continue
        what = "is not there" if key not in value else "is empty" if path == "" else f"is {kind(path)}"
        fix = 'write {"image": "path", "label": "path"}; several images per case take the key channels (docs/channels.md)'
        mistakes.add(f"{key} of another type", f"{place}.{key} {what}: it names no {key} file", fix)
        good = False
    labelled = value.get("labelled")
    if labelled is not None and not (isinstance(labelled, list) and labelled and all(isinstance(name, str) for name in labelled)):
        fix = 'write the structures that the label map has, such as ["pancreas"], or leave it out where it has all'
        mistakes.add("labelled", f"{place}.labelled is {kind(labelled)}" + (" without names" if isinstance(labelled, list) else ""), fix)
        good = False
    belonging = belongs(place, value, mistakes)
    if not good or belonging is None:
        return None
    others = tuple(files[1:]) if further and isinstance(files, list) else ()
    return Entry(place, section, value["image"], value.get("label"), *belonging, others, tuple(labelled) if labelled else None)


def belongs(place: str, value: Mapping[str, Any], mistakes: Mistakes) -> tuple[int | None, str | None, str | None] | None:
    """Fold, group and name of the case that an entry says, each None where it does not; None where one is of another type."""
    fold, group, case = (value.get(key) for key in ("fold", "group", "case"))
    good = True
    if fold is not None and (isinstance(fold, bool) or not isinstance(fold, int) or fold < 0):
        mistakes.add("fold", f"{place}.fold is {kind(fold)}", "write a whole number from 0 up, or leave it out")
        good = False
    if not isinstance(group, (str, int, type(None))) or isinstance(group, bool):
        mistakes.add("group", f"{place}.group is {kind(group)}", 'write the name of the patient, such as "patient_1", or leave it out')
        good = False
    if not isinstance(case, (str, type(None))):
        mistakes.add("case", f"{place}.case is {kind(case)}", "write the name of the case as text, or leave it out")
        good = False
    return (fold, None if group is None else str(group), case or None) if good else None


def _unique(entries: Iterator[Entry], finder: Finder, mistakes: Mistakes) -> list[Entry]:
    """The first entry of each image; an image that is listed again is noted, and measured and split once."""
    first: dict[str, Entry] = {}
    again: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        key = finder.file(entry.image) or entry.image
        if key in first:
            again[key].append(entry.place)
        first.setdefault(key, entry)
    for key, places in again.items():
        shown = ", ".join([first[key].place, *places[:3]]) + (", ..." if len(places) > 3 else "")
        mistakes.add("again", f"lists the image {first[key].image} {len(places) + 1} times ({shown})", "list each image once")
    return list(first.values())


def _missing(entry: Entry, key: str, finder: Finder) -> tuple[str, str]:
    """Problem and fix where a file is not there."""
    path = str(getattr(entry, key))
    problem = f'{entry.place}.{key} is "{path[:200]}", but there is no such file'
    if path.startswith("/") or path[1:3] in (":\\", ":/"):
        return problem, f"write the path from the list's folder on ({finder.bases[-1]}): this one is of another machine or place"
    return problem, f"put the file into {finder.bases[0]}, correct the entry, or take it away"


def _names(images: list[tuple[str, str | None]]) -> list[str]:
    """A name a case: the entry's own `case`, else the file's stem, with as many parent folders as it takes to be unique."""
    names = [stem(image) for image, _ in images]
    for depth in range(1, 5):
        double = {name for name, number in Counter(names).items() if number > 1}
        if not double:
            break
        for index, (image, _) in enumerate(images):
            if names[index] in double and depth < len(Path(image).parts) - 1:
                names[index] = "_".join([*Path(image).parts[-1 - depth : -1], stem(image)])
    return [given or name for (_, given), name in zip(images, names, strict=True)]
