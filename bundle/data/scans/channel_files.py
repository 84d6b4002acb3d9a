"""Which files are further channels of which scan: by nnU-Net's numbers, by names, or, for DICOM, by the study."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundle.channels import KINDS, Channel
from bundle.data.scans.left_alone import IMAGE_WORDS, LeftAlone, kind_by_name, words_of
from bundle.data.scans.scan import File, Scan, Search, problem_of
from bundle.data.scans.walk import Problem, file_problem
from bundle.images.names import VOLUME_ENDINGS, ending, stem

if TYPE_CHECKING:
    from bundle.dicom import LeftAlone as DicomLeft

# what a name is about, folder by folder
Key = tuple[frozenset[str], ...]


@dataclass
class Joined:
    """The further channels of one scan by name, and why they are not clear, if so."""

    channels: dict[str, File] = field(default_factory=dict)
    problem: Problem | None = None


def joined(files: Iterable[Path], root: Path, channels: Sequence[Channel]) -> tuple[dict[Path, Joined], list[Path]]:
    """The first channels among volume files with what belongs to each, and files of further channels that belong to none.

    `a_0000.nii.gz` and `a_0001.nii.gz` are channels by their numbers. Otherwise names of files, or of folders, that say CT, PET, ... or
    the name of a channel are what distinguishes the files of one case: `pat1/CT.nii.gz` and `pat1/PET.nii.gz`, `a_ct.nii.gz` and
    `a_pet.nii.gz`, `pat1/ct/scan.nii.gz` and `pat1/pet/scan.nii.gz`. What says nothing is a first channel.

    Args:
        files: all volume files below the root that are images.
        root: the folder that was asked for; only names below it say something.
        channels: what a case has.
    """
    files = sorted(files)
    there = set(files)
    groups: dict[Key, dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in files:
        index, key = _place(path, root, channels, there)
        groups[key][index].append(path)
    found, alone = {}, []
    for group in groups.values():
        firsts = group.pop(0, [])
        if not firsts:
            alone += [path for paths in group.values() for path in paths]
        for first in firsts:
            found[first] = _belonging(group, channels)
    return found, alone


def _belonging(group: Mapping[int, Sequence[Path]], channels: Sequence[Channel]) -> Joined:
    mine = Joined()
    for index, paths in sorted(group.items()):
        channel = channels[index]
        # a PET in Bq/ml beside one in SUV, as some public sets have them
        chosen = [path for path in paths if "suv" in words_of(stem(path))] if channel.kind == "pet" and len(paths) > 1 else paths
        chosen = chosen or paths
        if len(chosen) > 1:
            names = ", ".join(path.name for path in chosen[:3]) + (", ..." if len(chosen) > 3 else "")
            mine.problem = Problem(
                f"several files may be its {channel.name} ({names})", "leave one of them there, or list the files (--datalist)"
            )
        else:
            mine.channels[channel.name] = str(chosen[0])
    return mine


def _place(path: Path, root: Path, channels: Sequence[Channel], there: set[Path]) -> tuple[int, Key]:
    """The channel that a file is of, and what its name says beside that."""
    parts = [*path.parent.relative_to(root).parts, stem(path)]
    own = parts[-1]
    first = path.with_name(f"{own[:-5]}_0000{path.name[len(own) :]}")
    if own[-5:-4] == "_" and own[-4:].isdecimal() and int(own[-4:]) < len(channels) and first in there:
        return int(own[-4:]), (*(words_of(part) - IMAGE_WORDS for part in parts[:-1]), frozenset({own[:-5]}))
    marks = [_mark(part, channels) for part in parts]
    index = next((mark for mark in reversed(marks) if mark is not None), 0)
    said = [words_of(part) - IMAGE_WORDS for part in parts]
    said = [words - _words(channels[mark]) if mark is not None else words for words, mark in zip(said, marks, strict=True)]
    return index, tuple(words for words in said if words)


def _mark(part: str, channels: Sequence[Channel]) -> int | None:
    """The one channel that a name says it is of; None where it says none, or several."""
    words = words_of(part)
    named = [index for index, channel in enumerate(channels) if words_of(channel.name) <= words]
    if len(named) > 1:  # late and pet: the kind says less
        named = [index for index in named if channels[index].name.lower() not in KINDS]
    if not named:
        named = [index for index, channel in enumerate(channels) if words & KINDS[channel.kind][1]]
        kinds = {channels[index].kind for index in named}
        return named[0] if len(named) == 1 or kinds == {"ct"} else None
    return named[0] if len(named) == 1 else None


def _words(channel: Channel) -> frozenset[str]:
    return words_of(channel.name) | KINDS[channel.kind][1]


def series_of_study(ct: Sequence[str], pets: Sequence[Sequence[str]], name: str) -> Joined:
    """The PET series that belongs to a CT series: of one patient and study, and corrected for attenuation where there are several.

    Where studies have no UID, those whose folders are in one folder belong together.

    Args:
        ct: the files of the CT.
        pets: the files of each PET.
        name: of the channel.
    """
    mine = [pet for pet in pets if _same_study(ct[0], pet[0])]
    if len(mine) > 1:
        from bundle.dicom.suv import attenuation_corrected

        mine = [pet for pet in mine if attenuation_corrected(pet[0])] or mine
    if len(mine) > 1:
        folders = ", ".join(sorted({os.path.dirname(pet[0]) for pet in mine})[:3])
        problem = Problem(
            f"its study has {len(mine)} PET series ({folders})", "leave one of them in the folder, or list the files (--datalist)"
        )
        return Joined(problem=problem)
    return Joined({name: tuple(mine[0])} if mine else {})


def _same_study(ct: str, pet: str) -> bool:
    from bundle.dicom.headers import read_header

    one, other = read_header(ct).study, read_header(pet, pet=True).study
    if one[1] or other[1]:
        return one == other
    folders = [Path(file).parent for file in (ct, pet)]
    return one == other and (folders[0] == folders[1] or folders[0].parent == folders[1].parent)


def join_channels(search: Search, channels: Sequence[Channel]) -> None:
    """Give the volume files that are further channels to the scans that they belong to."""
    kinds = {channel.kind for channel in channels[1:]}
    volumes = {Path(scan.source): scan for scan in search.scans if len(scan.files) == 1 and ending(scan.source) in VOLUME_ENDINGS}
    beside = {Path(one.path): one for one in search.left if one.kind in kinds and ending(one.path) in VOLUME_ENDINGS}
    found, alone = joined([*volumes, *beside], search.root, channels)
    used = {path for one in found.values() for path in one.channels.values()} | set(map(str, alone))
    search.scans = [scan for scan in search.scans if Path(scan.source) not in volumes or scan.source not in used]
    search.scans = [_with_channels(scan, found.get(Path(scan.source)), search.root) for scan in search.scans]
    search.left = [one for one in search.left if one not in beside.values() or one.path not in used]
    words = ("image of a further channel without its CT", "images of further channels without their CT")
    search.left += [LeftAlone("pet" if path in beside and beside[path].kind == "pet" else words, str(path)) for path in alone]


def _with_channels(scan: Scan, mine: Joined | None, root: Path) -> Scan:
    if mine is None:
        return scan
    place = scan.place
    if place.parts[-1].endswith("_0000"):  # the case, and not its first channel, gives the name
        place = place._replace(parts=(*place.parts[:-1], place.parts[-1].removesuffix("_0000")))
    return replace(scan, place=place, problem=scan.problem or mine.problem, further=(*scan.further, *mine.channels.items()))


def with_channels_beside(scan: Scan, path: Path, channels: Sequence[Channel]) -> Scan:
    """A file that was asked for by its own path, with the channels that are in its folder."""
    if len(channels) == 1 or scan.problem or ending(path) not in VOLUME_ENDINGS:
        return scan
    near = [other for other in path.parent.iterdir() if ending(other) in VOLUME_ENDINGS and not file_problem(other)]
    labels = {other for other in near if other != path and (kind_by_name(other, path.parent, path.parent) == "labels" or problem_of(other))}
    return _with_channels(scan, joined(set(near) - labels, path.parent, channels)[0].get(path), path.parent)


def pet_series(left: Sequence[DicomLeft], channels: Sequence[Channel]) -> list[list[str]]:
    """The PET series among what was left alone, where a channel is one; what cannot be read stays left alone."""
    from bundle.dicom import find_series

    if not any(channel.kind == "pet" for channel in channels[1:]):
        return []
    found, _ = find_series([file for one in left if one.kind == "PET" for file in one.files], pet=True)
    return [list(one.files) for one in found if not one.problem]
