"""Which DICOM files of a whole tree belong to one scan, and what is not a scan."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundle.dicom.elements import looks_like_dicom
from bundle.dicom.headers import Header, read_header
from bundle.dicom.stack import Plane, Stack, by_plane, checked_planes, directions, stacked
from bundle.errors import UserError

# of the slices in two folders with one series UID, how many may be the same before they count as two exports of it
SHARED_SLICES = 0.1
# fewer pictures of another plane are a localizer, more a scan of their own
FEW = 3
ANOTHER_PLANE, COPY = "picture of another plane", "copy of a slice"


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


def find_series(files: Iterable[str | os.PathLike]) -> tuple[list[Series], list[LeftAlone]]:
    """The scans among DICOM files of a whole tree, and what is left alone; never raises for what a file holds.

    One series instance UID is one scan, whatever folders its slices lie in and whatever else their headers say, unless two
    folders hold the same slices: then each folder is a scan. Files that cannot be read are a `Series` with a problem each.
    """
    found: list[Series] = []
    left: dict[tuple[str, str], list[str]] = defaultdict(list)
    scans: dict[tuple, list[Header]] = defaultdict(list)
    for file in sorted({str(file) for file in files}):
        try:
            header = read_header(file)
        except UserError as error:
            found.append(_refused("", [file], error))
            continue
        if header.kind is not None:
            left[header.kind, os.path.dirname(file)].append(file)
        else:
            # without a UID the folder says what belongs together
            scans[header.series if header.series[2] else (*header.series, os.path.dirname(file))].append(header)
    for headers in scans.values():
        for together in _exports(headers):
            series, others = _arranged(together)
            found += series
            for file, kind in others:
                left[kind, os.path.dirname(file)].append(file)
    alone = [LeftAlone(tuple(sorted(names)), kind, folder) for (kind, folder), names in sorted(left.items())]
    return sorted(found, key=lambda series: (series.folder, series.files)), alone


def series_in(folder: str | os.PathLike, files: Sequence[Path] | None = None) -> list[list[str]]:
    """The series in one folder, each as its files in the order of the slices; those with a problem too.

    Args:
        folder: what to look in; subfolders are not searched.
        files: if given, only these count.
    """
    names = sorted(Path(folder).iterdir()) if files is None else files
    found, _ = find_series(name for name in names if looks_like_dicom(name))
    return [list(series.files) for series in found]


def one_stack(files: Sequence[str | os.PathLike]) -> Stack:
    """The one volume that these files are, in whatever order they are given.

    Raises:
        UserError: they are not one volume, or not a CT.
    """
    headers = [read_header(file) for file in files]
    for header in headers:
        if header.kind is not None:
            raise UserError(header.file, f"this is not a CT ({header.kind})", "give the CT itself")
    groups = by_plane(checked_planes(headers))
    stack = _main_stack(groups)
    if len(groups) > 1:
        raise _other_plane(groups[1][0], stack.planes[0], "")
    return stack


def _refused(uid: str, files: Sequence[str], error: UserError) -> Series:
    where = os.path.basename(error.where)
    problem = f"{where}: {error.problem}" if error.where in files and len(files) > 1 else error.problem
    return Series(uid, tuple(files), _folder(files), problem, error.fix)


def _folder(files: Sequence[str]) -> str:
    return os.path.commonpath([os.path.dirname(file) for file in files])


def _exports(headers: list[Header]) -> list[list[Header]]:
    """Headers of one series UID, apart where folders hold the same slices again, and where files are whole volumes."""
    parts: list[tuple[set, list[Header]]] = []
    folders: dict[str, list[Header]] = defaultdict(list)
    alone = []
    for header in headers:
        if len(header.frames) > 1 and not header.concatenation:
            alone.append([header])
        else:
            folders[os.path.dirname(header.file)].append(header)
    for _, here in sorted(folders.items()):
        for known, together in parts if any(_placed(header) for header in here) else ():
            again = sum(not known.isdisjoint(_marks(header)) for header in here)
            if again <= SHARED_SLICES * min(len(together), len(here)):
                break
        else:
            known, together = set(), []
            parts.append((known, together))
        known.update(mark for header in here for mark in _marks(header))
        together += here
    return alone + [together for _, together in parts]


def _placed(header: Header) -> bool:
    return bool(header.frames) and header.frames[0].position is not None


def _marks(header: Header) -> list[object]:
    """What two headers of the same slice share: its UID, or its place."""
    marks: list[object] = [header.instance] if header.instance else []
    if _placed(header):
        frame = header.frames[0]
        place = (round(value, 1) for value in (*frame.position, *(frame.directions or ())))
        marks.append((*place, header.layout.rows, header.layout.columns))
    return marks or [header.file]


def _arranged(headers: list[Header]) -> tuple[list[Series], list[tuple[str, str]]]:
    """The scans of one series, and its files that belong to none with their kinds."""
    uid, files = headers[0].series[2], [header.file for header in headers]
    try:
        groups = by_plane(checked_planes(headers))
        if len(files) < FEW and len(groups) == len(files) and (len(groups) > 1 or _upright(groups[0])):
            return [], [(file, "localizer") for file in files]
        stack = _main_stack(groups)
        for group in groups[1:]:
            for plane in group:
                if _continues(stack, plane):
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
    elif not np.allclose(plane.frame.directions, usual.frame.directions, rtol=0, atol=0.01):
        differs = "another orientation (ImageOrientationPatient) than other slices"
    else:
        differs = f"PixelSpacing {plane.frame.spacing[0]:g} mm, other slices {usual.frame.spacing[0]:g} mm"
    problem = f"{plane.name} has {differs}" + (f"; without it, {without}" if without else "")
    return UserError(os.path.dirname(plane.header.file), problem, "export the series again, each stack as a series of its own")


def _upright(group: list[Plane]) -> bool:
    """Whether a single picture stands upright, as scouts do and slices of a CT do not."""
    return len(group) == 1 and abs(directions(group)[2][2]) < 0.5


def _continues(stack: Stack, plane: Plane) -> bool:
    """Whether a plane of another orientation or matrix lies where the stack's next slice would: then it is one of them."""
    corner = np.linalg.solve(stack.affine, [*(np.array(plane.frame.position) * [-1, -1, 1]), 1.0])[:3]
    count = len(stack.planes)
    beyond = -1.5 < corner[2] < -0.5 or count - 0.5 < corner[2] < count + 0.5
    parallel = abs(directions(stack.planes)[2] @ directions([plane])[2]) > 0.99
    return bool(beyond and (parallel or np.abs(corner[:2]).max() < 1))
