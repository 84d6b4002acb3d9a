"""Which DICOM files of a whole tree belong to one scan, and what is not a scan."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from bundle.dicom.elements import looks_like_dicom
from bundle.dicom.headers import Header, read_header
from bundle.dicom.stack import SAME_SPACING, Plane, Stack, by_plane, checked_planes, directions, same_directions, stacked
from bundle.errors import UserError, counted

# of the slices in two folders with one series UID, how many may be the same before they count as two exports of it
SHARED_SLICES = 0.1
# fewer pictures of another plane are a localizer, more a scan of their own
FEW = 3
# what the slices of one scan share
OWNER = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
ANOTHER_PLANE, COPY, ONE_SLICE = "picture of another plane", "copy of a slice", "time series of one slice"


@dataclass(frozen=True)
class Series:
    """One scan: its files in the order of the slices, their folder, and why it cannot be read, if so, with the fix."""

    uid: str
    files: tuple[str, ...]
    folder: str
    problem: str | None = None
    fix: str = ""


@dataclass(frozen=True)
class LeftAlone:
    """Files of one folder that are not a scan, and what they are: "DICOM SEG", "PET", "localizer", "copy of a slice", ..."""

    files: tuple[str, ...]
    kind: str
    folder: str


def find_series(files: Iterable[str | os.PathLike], pet: bool = False) -> tuple[list[Series], list[LeftAlone]]:
    """The scans among DICOM files of a whole tree, and what is left alone; never raises for what a file holds.

    One series instance UID is one scan, whatever folders its slices are in and whatever else their headers say, unless two
    folders hold the same slices: then each folder is a scan. Slices of several patients, studies or frames of reference are
    taken apart, or refused where that is not possible. Files that cannot be read are a `Series` with a problem each.

    Args:
        files: in any order.
        pet: the scans are PET, and CT is left alone.
    """
    found: list[Series] = []
    left: dict[tuple[str, str], list[str]] = defaultdict(list)
    scans: dict[tuple[str, str], list[Header]] = defaultdict(list)
    for file in sorted({str(file) for file in files}):
        try:
            header = read_header(file, pet)
        except UserError as error:
            found.append(_refused("", [file], error))
            continue
        if header.kind is not None:
            left[header.kind, os.path.dirname(file)].append(file)
        else:
            # without a UID the folder says what belongs together
            scans[header.uid, "" if header.uid else os.path.dirname(file)].append(header)
    for headers in scans.values():
        exports, copies = _exports(headers)
        for file in copies:
            left[COPY, os.path.dirname(file)].append(file)
        for together in exports:
            series, others = _by_study(together)
            found += series
            for file, kind in others:
                left[kind, os.path.dirname(file)].append(file)
    alone = [LeftAlone(tuple(sorted(names)), kind, folder) for (kind, folder), names in sorted(left.items())]
    return sorted(found, key=lambda series: (series.folder, series.files)), alone


def series_in(folder: str | os.PathLike, files: Sequence[Path] | None = None, pet: bool = False) -> list[list[str]]:
    """The series in one folder, each as its files in the order of the slices; those with a problem too.

    Args:
        folder: what to look in; subfolders are not searched.
        files: if given, only these count.
        pet: PET series are wanted; CT otherwise.

    Raises:
        UserError: the folder holds other DICOM objects and none that is wanted.
    """
    names = sorted(Path(folder).iterdir()) if files is None else files
    found, left = find_series((name for name in names if looks_like_dicom(name)), pet)
    if files is None and left and not found:
        kinds = ", ".join(f"{counted(len(alone.files), 'file')}: {alone.kind}" for alone in left)
        wanted = "PET" if pet else "CT"
        raise UserError(folder, f"no {wanted} is in this folder ({kinds})", f"give the {wanted} itself")
    return [list(series.files) for series in found]


def one_stack(files: Sequence[str | os.PathLike], pet: bool = False) -> Stack:
    """The one volume that these files are, in whatever order they are given.

    Args:
        files: of one series.
        pet: it is a PET; a CT otherwise.

    Raises:
        UserError: they are not one volume, or not what is wanted.
    """
    headers = [read_header(file, pet) for file in files]
    for header in headers:
        if header.kind is not None:
            wanted = "PET" if pet else "CT"
            fix = "give the folder that it is in" if header.kind == "DICOMDIR" else f"give the {wanted} itself"
            raise UserError(header.file, f"this is not a {wanted} ({header.kind})", fix)
    groups = by_plane(checked_planes(headers))
    stack = _main_stack(groups)
    if len(groups) > 1:
        raise _other_plane(groups[1][0], stack.planes[0], "")
    owner_of = dict(zip((header.file for header in headers), _owners(headers), strict=True))
    differing, between = _differing([owner_of[plane.header.file] for plane in stack.planes])
    if differing and not (between and differing == ["PatientID"]):
        problem = f"these slices have different {' and '.join(differing)}"
        raise UserError(_folder([header.file for header in headers]), problem, "give the slices of one study alone")
    return stack


def _differing(owners: list[tuple[str, ...]]) -> tuple[list[str], bool]:
    """What differs along a stack (names of `OWNER`), and whether the slices of one owner lie between those of another."""
    names = [name for name, *texts in zip(OWNER, *set(owners), strict=True) if len(set(texts)) > 1]
    return names, 1 + sum(one != other for one, other in pairwise(owners)) > len(set(owners))


def _refused(uid: str, files: Sequence[str], error: UserError) -> Series:
    where = os.path.basename(error.where)
    problem = f"{where}: {error.problem}" if error.where in files and len(files) > 1 else error.problem
    return Series(uid, tuple(files), _folder(files), problem, error.fix)


def _folder(files: Sequence[str]) -> str:
    return os.path.commonpath([os.path.dirname(file) for file in files])


def _exports(headers: list[Header]) -> tuple[list[list[Header]], list[str]]:
    """Headers of one series UID, apart where two folders, or two files of many frames, hold the same slices; and files that are copies."""
    units: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        units[header.file if len(header.frames) > 1 else os.path.dirname(header.file)].append(header)
    parts: list[tuple[set, list[Header]]] = []
    for _, here in sorted(units.items()):
        marks = [_marks(header) for header in here]
        for known, together in parts if any(_placed(header) for header in here) else ():
            again = sum(not known.isdisjoint(some) for some in marks)
            if again <= SHARED_SLICES * min(len(together), len(here)):
                break
        else:
            known, together = set(), []
            parts.append((known, together))
        known.update(*marks)
        together += here
    return _without_repeats([together for _, together in parts])


def _without_repeats(parts: list[list[Header]]) -> tuple[list[list[Header]], list[str]]:
    """These parts, and the files of those that are no scan of their own: a few slices that all are equal copies of a larger part's."""
    kept, copies = list(parts), []
    for few in sorted(parts, key=len):
        if any(2 * len(few) < len(many) and _repeats(few, many) for many in kept):
            kept = [part for part in kept if part is not few]
            copies += [header.file for header in few]
    return kept, copies


def _repeats(few: list[Header], many: list[Header]) -> bool:
    known = {mark for header in many for mark in _marks(header)}
    if any(known.isdisjoint(_marks(header)) for header in few):
        return False
    alone, together = _arranged(many)[0], _arranged(many + few)[0]
    # a copy may stand for its original
    counts = [[(len(series.files), series.problem) for series in found] for found in (alone, together)]
    return counts[0] == counts[1] and all(series.problem is None for series in together)


def _placed(header: Header) -> bool:
    return bool(header.frames) and header.frames[0].position is not None


def _marks(header: Header) -> list[object]:
    """What two headers of the same slice share: its UID, or a place."""
    marks: list[object] = [header.instance] if header.instance else []
    layout = header.layout
    if layout is None or not _placed(header):
        return marks or [header.file]
    for frame in header.frames:
        place = (round(value, 1) for value in (*(frame.position or ()), *(frame.directions or ())))
        marks.append((*place, layout.rows, layout.columns))
    return marks or [header.file]


def _by_study(headers: list[Header]) -> tuple[list[Series], list[tuple[str, str]]]:
    """As `_arranged`, but never with slices of several patients, studies or frames of reference in one scan.

    Files that name several are taken apart by these. Where their slices lie between each other, on one even grid, no part is a scan:
    they are one scan whose text differs if only PatientID does, and refused otherwise.
    """
    found, left = _arranged(headers)
    parts: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for owner, header in zip(_owners(headers), headers, strict=True):
        parts[owner].append(header)
    owner_of = {header.file: owner for owner, some in parts.items() for header in some}
    if all(series.problem is None for series in found):
        found_to_differ = [_differing([owner_of[file] for file in series.files]) for series in found]
        several = [names for names, _ in found_to_differ if names]
        mixed = [names for names, between in found_to_differ if between]
        if not several or (mixed == several and all(names == ["PatientID"] for names in mixed)):
            return found, left
        if mixed:
            files = [header.file for header in headers]
            differing = [name for name in OWNER if any(name in names for names in mixed)]
            problem = f"slices with different {' and '.join(differing)} lie between each other in one series"
            return [_refused(headers[0].uid, files, UserError(_folder(files), problem, "export each study's series again"))], []
    each = [_arranged(some) for some in parts.values()]
    return [series for some, _ in each for series in some], [other for _, some in each for other in some]


def _owners(headers: list[Header]) -> list[tuple[str, ...]]:
    """Patient, study and frame of reference of each; a missing one is that of the others, if they have one."""
    rows = [(*header.study, header.reference) for header in headers]
    only = [found.pop() if len(found := set(column) - {""}) == 1 else "" for column in zip(*rows, strict=True)]
    return [tuple(value or usual for value, usual in zip(row, only, strict=True)) for row in rows]


def _arranged(headers: list[Header]) -> tuple[list[Series], list[tuple[str, str]]]:
    """The scans of one series, and its files that belong to none with their kinds."""
    uid, files = headers[0].uid, [header.file for header in headers]
    try:
        groups = by_plane(checked_planes(headers))
        kind = _no_volume(groups)
        if kind:
            return [], [(file, kind) for file in files]
        stack = _main_stack(groups)
        own = {plane.header.file for plane in stack.planes}
        for plane in (plane for group in groups[1:] for plane in group):
            if plane.header.file in own or _continues(stack, plane):
                raise _other_plane(plane, stack.planes[0], "")
    except UserError as error:
        return [_refused(uid, files, error)], []
    found, left = [_whole(uid, stack)], _copies(stack)
    for group in groups[1:]:
        names = sorted({plane.header.file for plane in group})
        try:
            other = stacked(group) if len(group) >= FEW else None
        except UserError as error:
            found.append(_refused(uid, names, error))
            continue
        if other is None:
            left += [(name, ANOTHER_PLANE) for name in names]
        else:
            found.append(_whole(uid, other))
            left += _copies(other)
    return found, left


def _whole(uid: str, stack: Stack) -> Series:
    files = list(dict.fromkeys(plane.header.file for plane in stack.planes))
    return Series(uid, tuple(files), _folder(files))


def _copies(stack: Stack) -> list[tuple[str, str]]:
    used = {plane.header.file for plane in stack.planes}
    return [(name, COPY) for name in dict.fromkeys(plane.header.file for plane in stack.copies) if name not in used]


def _main_stack(groups: list[list[Plane]]) -> Stack:
    """The largest group as a stack; where it is not whole and another group may be the reason, that is said."""
    try:
        return stacked(groups[0])
    except UserError as error:
        if len(groups) == 1 or "position" in error.problem:
            raise
        raise _other_plane(groups[1][0], groups[0][0], error.problem) from error


def _other_plane(plane: Plane, usual: Plane, without: str) -> UserError:
    """A plane that does not fit the others of its stack."""
    one, other = plane.layout, usual.layout
    if (one.rows, one.columns) != (other.rows, other.columns):
        differs = f"{one.columns}x{one.rows} pixels, other slices {other.columns}x{other.rows}"
    elif not same_directions(plane, usual):
        differs = "another orientation (ImageOrientationPatient) than other slices"
    else:
        differs = f"PixelSpacing {plane.spacing[0]:g} mm, other slices {usual.spacing[0]:g} mm"
    problem = f"{plane.name} has {differs}" + (f"; without it, {without}" if without else "")
    return UserError(os.path.dirname(plane.header.file), problem, "export the series again, each stack as a series of its own")


def _no_volume(groups: list[list[Plane]]) -> str | None:
    """What pictures are that plainly are not a stack of slices: scouts, or one slice again and again; otherwise None."""
    planes = [plane for group in groups for plane in group]
    # scouts are upright, slices of a CT are not
    upright = len(planes) == 1 and abs(directions(planes)[2][2]) < 0.5
    if len(planes) < FEW and len(groups) == len(planes) and (len(planes) > 1 or upright):
        return "localizer"
    if len(planes) >= FEW and len(groups) == 1 and len({plane.position for plane in planes}) == 1:
        return None if len({plane.header.file for plane in planes}) == 1 else ONE_SLICE
    return None


def _continues(stack: Stack, plane: Plane) -> bool:
    """Whether a plane of another orientation or matrix is one of the stack: it is where the next slice would be, or differs only in
    being turned within its plane, which no scanner does within a series."""
    corner = np.linalg.solve(stack.affine, [*(np.array(plane.position) * [-1, -1, 1]), 1.0])[:3]
    count = len(stack.planes)
    beyond = -1.5 < corner[2] < -0.5 or count - 0.5 < corner[2] < count + 0.5
    parallel = abs(directions(stack.planes)[2] @ directions([plane])[2]) > 0.99
    same = (plane.layout.rows, plane.layout.columns) == (stack.planes[0].layout.rows, stack.planes[0].layout.columns)
    if parallel and same and np.allclose(plane.spacing, stack.planes[0].spacing, rtol=SAME_SPACING):
        return True
    return bool(beyond and (parallel or np.abs(corner[:2]).max() < 1))
