"""Planes in their order on an even grid, or the reason why they are not a volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bundle.dicom.elements import opened
from bundle.dicom.headers import MARKS, Frame, Header, Layout
from bundle.errors import UserError

# how far one gap between slices may be from the usual one, as a share of it and in mm: the smaller counts
GAP_TOLERANCE, GAP_TOLERANCE_MM = 0.25, 1.0
# how far a slice may be from its place on the even grid, likewise
PLACE_TOLERANCE, PLACE_TOLERANCE_MM = 0.5, 1.0
# directions that differ by less (half a degree) are rounding; ratio of two pixel spacings, likewise
SAME_DIRECTION, SAME_SPACING = 0.01, 1e-3
# slices closer than this share of the usual gap, or this many mm, are at the same position
SAME_PLACE, SAME_PLACE_MM = 0.05, 1e-3
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
T = TypeVar("T")
WHOLE_SERIES, APART = "export the whole series", "export each phase or reconstruction as a series of its own"


def _known(value: T | None) -> T:
    """What `checked_planes` has found to be there."""
    assert value is not None
    return value


@dataclass(frozen=True)
class Plane:
    """One frame of a file, whose header says where and how large it is (`checked_planes`)."""

    header: Header
    index: int

    @property
    def frame(self) -> Frame:
        """Where it is."""
        return self.header.frames[self.index]

    @property
    def layout(self) -> Layout:
        """How it is stored."""
        return _known(self.header.layout)

    @property
    def position(self) -> tuple[float, ...]:
        """Of its first voxel (LPS, mm)."""
        return _known(self.frame.position)

    @property
    def directions(self) -> tuple[float, ...]:
        """Along a row, then along a column (LPS)."""
        return _known(self.frame.directions)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Between rows, then between columns (mm)."""
        return _known(self.frame.spacing)

    @property
    def name(self) -> str:
        """What messages call it."""
        name = os.path.basename(self.header.file)
        return f"frame {self.index + 1} of {name}" if len(self.header.frames) > 1 else name


@dataclass(frozen=True)
class Stack:
    """Planes in their order, the affine (4, 4) from voxel (column, row, plane) to mm, RAS+; copies that were left out."""

    planes: tuple[Plane, ...]
    affine: np.ndarray
    copies: tuple[Plane, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, planes."""
        layout = self.planes[0].layout
        return layout.columns, layout.rows, len(self.planes)


def checked_planes(headers: Sequence[Header]) -> list[Plane]:
    """The planes of these files.

    Raises:
        UserError: one of them has a problem, or does not say where its voxels are or how large they are.
    """
    for header in headers:
        if header.problem is not None:
            raise header.problem
    planes = [Plane(header, index) for header in headers for index in range(len(header.frames))]
    for plane in planes:
        _check_place(plane)
    return planes


def _check_place(plane: Plane) -> None:
    frame, file = plane.frame, plane.header.file
    of = "" if len(plane.header.frames) == 1 else f" of frame {plane.index + 1}"
    if frame.spacing is None:
        fix = "export the series again with this element; ImagerPixelSpacing and NominalScannedPixelSpacing do not replace it"
        raise UserError(file, f"PixelSpacing (0028,0030){of} is missing, so the size of its voxels is not known", fix)
    if min(frame.spacing) < 1e-3 or max(frame.spacing) > 1e3:
        raise UserError(file, f"PixelSpacing (0028,0030){of} is {frame.spacing[0]:g}, {frame.spacing[1]:g} mm", "repair the header")
    for name, tag, value in (
        ("ImagePositionPatient", "0020,0032", frame.position),
        ("ImageOrientationPatient", "0020,0037", frame.directions),
    ):
        if value is None:
            raise UserError(file, f"{name} ({tag}){of} is missing, so the position of its voxels is not known", "export the series again")
    row, column = np.array(plane.directions[:3]), np.array(plane.directions[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > SAME_DIRECTION or abs(row @ column) > SAME_DIRECTION:
        numbers = ", ".join(f"{value:g}" for value in plane.directions)
        problem = f"ImageOrientationPatient (0020,0037){of} is {numbers}, not two directions at a right angle"
        raise UserError(file, problem, "repair the header")
    if max(map(abs, plane.position)) > 1e5:
        numbers = ", ".join(f"{value:g}" for value in plane.position)
        raise UserError(file, f"ImagePositionPatient (0020,0032){of} is {numbers} mm", "repair the header")


def by_plane(planes: Sequence[Plane]) -> list[list[Plane]]:
    """The planes in groups of one matrix, pixel spacing and orientation; the largest group first."""
    groups: list[list[Plane]] = []
    known: dict[tuple, int] = {}
    for plane in planes:
        key = (plane.layout.rows, plane.layout.columns, plane.spacing, plane.directions)
        if key not in known:
            fits = [number for number, group in enumerate(groups) if _alike(group[0], plane)]
            known[key] = fits[0] if fits else len(groups)
            groups += [] if fits else [[]]
        groups[known[key]].append(plane)
    return sorted(groups, key=len, reverse=True)


def _alike(one: Plane, other: Plane) -> bool:
    return (
        (one.layout.rows, one.layout.columns) == (other.layout.rows, other.layout.columns)
        and all(abs(a - b) <= SAME_SPACING * b for a, b in zip(one.spacing, other.spacing, strict=True))
        and same_directions(one, other)
    )


def same_directions(one: Plane, other: Plane) -> bool:
    """Whether two planes have one orientation, but for rounding."""
    return all(abs(a - b) <= SAME_DIRECTION for a, b in zip(one.directions, other.directions, strict=True))


def directions(planes: Sequence[Plane]) -> np.ndarray:
    """Unit vectors (3, 3) along a row, along a column, and of the normal, LPS: the median of planes of one orientation."""
    row, column = np.median([plane.directions for plane in planes], axis=0).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column) if abs(row @ column) > 1e-4 else column
    column = column / np.linalg.norm(column)
    normal = np.cross(row, column)
    return np.array([row, column, normal / np.linalg.norm(normal)])


def stacked(planes: Sequence[Plane]) -> Stack:
    """Planes of one orientation as a stack on an even grid. A tilted gantry gives a sheared affine.

    Raises:
        UserError: there are too few, several at the same position, or they are not evenly spaced.
    """
    axes = directions(planes)
    ordered = sorted(planes, key=lambda plane: (float(axes[2] @ plane.position), plane.header.file, plane.index))
    kept, copies = _without_copies(ordered, axes[2])
    where = kept[0].header.file if len(kept) == 1 else os.path.dirname(kept[0].header.file)
    if len(kept) < 2:
        size = f"{kept[0].layout.columns}x{kept[0].layout.rows}x1"
        raise UserError(where, f"a two-dimensional image ({size}), not a volume", "give the whole series")
    _check_rescale(kept)
    positions = np.array([plane.position for plane in kept])
    step = _even_step(positions, kept, where)
    affine = np.eye(4)
    between_rows, between_columns = np.median([plane.spacing for plane in kept], axis=0)
    affine[:3, :4] = np.stack([axes[0] * between_columns, axes[1] * between_rows, step, positions[0]], axis=1)
    return Stack(tuple(kept), LPS_TO_RAS @ affine, tuple(copies))


def _check_rescale(planes: Sequence[Plane]) -> None:
    """Refuse a stack of which only some planes say how their values become HU: the others would be off by the intercept."""
    without = [plane for plane in planes if not plane.frame.rescaled]
    if without and len(without) < len(planes):
        more = f", like {len(without) - 1} more" if len(without) > 1 else ""
        problem = f"{without[0].name} has no RescaleSlope and RescaleIntercept{more}, other slices have them: its values cannot be made HU"
        raise UserError(os.path.dirname(without[0].header.file), problem, "export the series again")


def _without_copies(ordered: list[Plane], normal: np.ndarray) -> tuple[list[Plane], list[Plane]]:
    """The planes without those that are there twice; `UserError` where different ones are at the same position."""
    along = np.array([normal @ plane.position for plane in ordered])
    gaps = np.diff(along)
    # a few gaps may be far larger than the others, and half of them or more may be 0
    same = gaps <= max(SAME_PLACE_MM, SAME_PLACE * np.percentile(gaps, 75, method="lower")) if len(gaps) else gaps
    clashes: list[tuple[Plane, Plane]] = []
    kept, copies = ordered[:1], []
    first = 0  # of the planes at this position
    for plane, again in zip(ordered[1:], same, strict=True):
        if not again:
            first = len(kept)
        elif not clashes and any(_copy(plane, other) for other in kept[first:]):
            copies.append(plane)
            continue
        else:  # after the first, pixels need not be read any more
            clashes.append((kept[-1], plane))
        kept.append(plane)
    if clashes:
        raise _clash(kept, clashes)
    return kept, copies


def _clash(kept: list[Plane], clashes: list[tuple[Plane, Plane]]) -> UserError:
    one, other = clashes[0]
    what = f"{one.name} and {other.name} are at the same position" + (f", like {len(clashes) - 1} more" if len(clashes) > 1 else "")
    mark = next((name for name in MARKS if one.header.marks.get(name) != other.header.marks.get(name)), None)
    if mark is not None:
        values = " and ".join(plane.header.marks.get(mark, "none")[:40] for plane in (one, other))
        what += f" ({mark} {values}): several acquisitions in one series"
    elif one.header.file == other.header.file:
        what += ": several stacks in one file"
    else:
        what += ": several images of the same slice in one series"
    return UserError(os.path.dirname(one.header.file), what, APART)


def _copy(one: Plane, other: Plane) -> bool:
    """Whether two planes at the same position are the same picture: the same stored bytes, with the same meaning."""
    if _meaning(one) != _meaning(other):
        return False
    if one.layout.syntax != other.layout.syntax:
        return bool(one.header.instance) and one.header.instance == other.header.instance
    if one.layout.native:
        return _stored_bytes(one) == _stored_bytes(other)
    single = len(one.header.frames) == len(other.header.frames) == 1
    return single and _stored_bytes(one) == _stored_bytes(other)


def _meaning(plane: Plane) -> tuple:
    """What makes HU of stored bytes."""
    frame, layout = plane.frame, plane.layout
    return frame.slope, frame.intercept, layout.allocated, layout.stored, layout.high, layout.signed, layout.little


def _stored_bytes(plane: Plane) -> bytes:
    layout = plane.layout
    size = layout.frame_bytes if layout.native else -1
    start = layout.offset + (plane.index * size if layout.native else 0)
    with opened(plane.header.file, start + max(size, 0)) as (stream, _):
        stream.seek(start)
        return stream.read(size)


def _even_step(positions: np.ndarray, planes: Sequence[Plane], where: str) -> np.ndarray:
    """The step (3,) in mm from one plane to the next; `UserError` where it is not always the same."""
    gaps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    usual = float(np.median(gaps))
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    off = np.linalg.norm(positions - (positions[0] + np.arange(len(positions))[:, None] * step), axis=1)
    far = float(off.max())
    odd = np.abs(gaps - usual)
    worst = int(odd.argmax())
    if odd[worst] > min(GAP_TOLERANCE * usual, GAP_TOLERANCE_MM):
        problem = f"{planes[worst].name} and {planes[worst + 1].name} are {gaps[worst]:.2f} mm apart, other slices {usual:.2f} mm"
        missing = gaps[worst] > usual * (2 - GAP_TOLERANCE)
        raise UserError(where, problem + (": slices are missing" if missing else ": the gaps differ"), WHOLE_SERIES)
    if far > min(PLACE_TOLERANCE * usual, PLACE_TOLERANCE_MM):
        problem = (
            f"gaps between slices are {gaps.min():.2f} to {gaps.max():.2f} mm: on an even grid a slice would be {far:.1f} mm off its place"
        )
        raise UserError(where, problem, "export the series with even gaps")
    return step
