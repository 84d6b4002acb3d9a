"""Argmax of linearly interpolated logits on a finer grid, without ever holding the interpolated logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# cells whose eight corners do not agree on the class
MIXED = 255
# voxels that are worked on at once: what bounds the memory
CHUNK = 1 << 20
# above this share of mixed voxels whole slices are cheaper than picking single voxels
DENSE_SHARE = 0.05


class InterpolatedArgmax:
    """Labels on a grid: the argmax of the logits interpolated linearly, values outside being those of the border.

    Where the eight voxels around a point agree on the class, so does every convex combination of them; logits are
    interpolated for all other points only. Extra memory is some 10 bytes for each voxel of the logits' grid, and a few
    slices of all classes, however many points there are. Slabs may be taken by several threads at once.

    Args:
        logits: (K, X, Y, Z), at most 255 classes.
        matrix: (4, 4), from indices of the wanted grid to indices of the logits' grid.
        shape: three sizes of the wanted grid.
        slab_axis: axis of the wanted grid along which slabs are cut.
    """

    def __init__(self, logits: Tensor, matrix: np.ndarray, shape: Sequence[int], slab_axis: int = 2) -> None:
        self.logits, self.matrix, self.shape, self.slab_axis = logits.float(), matrix, shape, slab_axis
        self.cells = agreeing_cells(_labels(self.logits))
        self.axes = _axes(matrix, shape, self.logits)

    def slabs(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """From `start` to `stop` along the slab axis: a slice, and its labels, uint8, with the grid's other sizes."""
        stop = self.shape[self.slab_axis] if stop is None else stop
        if self.axes:
            yield from _upright(self.logits, self.cells, self.axes, self.slab_axis, range(start, stop))
            return
        for where, lengths, points in _oblique(self.matrix, self.shape, self.logits, self.slab_axis, range(start, stop)):
            labels = self.cells[tuple(axis.before for axis in points)]
            mixed = (labels == MIXED).nonzero().flatten()
            if len(mixed):
                labels[mixed] = _argmax(self.logits, [axis.part(mixed) for axis in points])
            yield where, labels.reshape(lengths).cpu().numpy()


def interpolated(values: Tensor, matrix: np.ndarray, shape: Sequence[int], slab_axis: int = 2) -> Iterator[tuple[slice, np.ndarray]]:
    """Values (X, Y, Z) interpolated linearly on another grid, slab by slab, as `InterpolatedArgmax` does with logits."""
    channel = values.float()[None]
    axes = _axes(matrix, shape, channel)
    if axes is None:
        for where, lengths, points in _oblique(matrix, shape, channel, slab_axis, range(shape[slab_axis])):
            yield where, _pick(channel, points).reshape(lengths).cpu().numpy()
        return
    slices = _Slices(channel, axes, slab_axis)
    for i in range(shape[slab_axis]):
        yield slice(i, i + 1), slices.between(axes[slab_axis], i)[0].unsqueeze(slab_axis).cpu().numpy()


def _axes(matrix: np.ndarray, shape: Sequence[int], logits: Tensor) -> list[Axis] | None:
    """The wanted grid's axes where they are those of the logits' grid, otherwise None."""
    linear = np.asarray(matrix, dtype=np.float64)
    diagonal = np.diag(np.diag(linear[:3, :3]))
    # off-diagonal entries that move no point of the grid by more than a thousandth of a voxel are rounding
    if np.abs((linear[:3, :3] - diagonal) @ np.diag(shape)).max() >= 1e-3:
        return None
    sizes = logits.shape[1:]
    return [Axis.at(np.arange(n) * linear[i, i] + linear[i, 3], sizes[i], logits.device) for i, n in enumerate(shape)]


def agreeing_cells(labels: Tensor) -> Tensor:
    """For each cell between voxels i and i + 1 of every axis, the class its eight corners agree on, or `MIXED`.

    Args:
        labels: (X, Y, Z) uint8; the last cell of an axis has voxel n - 1 on both sides.
    """
    low = high = labels
    for axis in range(3):
        following = torch.arange(1, labels.shape[axis] + 1, device=labels.device).clamp_(max=labels.shape[axis] - 1)
        low = torch.minimum(low, low.index_select(axis, following))
        high = torch.maximum(high, high.index_select(axis, following))
    return torch.where(low == high, low, MIXED)


def _labels(logits: Tensor) -> Tensor:
    """Argmax over the first axis as uint8, the first of equals (torch's argmax gives 8 bytes a voxel and is slow across axes)."""
    best = logits[0].clone()
    found = torch.zeros(best.shape, dtype=torch.uint8, device=logits.device)
    for channel in range(1, len(logits)):
        found.masked_fill_(logits[channel] > best, channel)
        torch.maximum(best, logits[channel], out=best)
    return found


@dataclass(frozen=True)
class Axis:
    """Where the points of one axis of a wanted grid are between the voxels of the grid that there is."""

    before: Tensor  # index of the voxel before, int64
    after: Tensor
    weight: Tensor  # of the voxel after, float32

    @classmethod
    def at(cls, position: np.ndarray, size: int, device: torch.device | str = "cpu") -> Axis:
        """For points at any positions on an axis of `size` voxels; those outside count as being on its ends."""
        position = np.clip(position, 0, size - 1)
        before = np.floor(position).astype(np.int64)
        after = np.minimum(before + 1, size - 1)
        first, second, weight = (torch.as_tensor(i, device=device) for i in (before, after, (position - before).astype(np.float32)))
        return cls(first, second, weight)

    def part(self, where: slice | Tensor) -> Axis:
        """Some of the points: a slice of them, or those of the given numbers."""
        return Axis(self.before[where], self.after[where], self.weight[where])

    def reached(self, wanted: Tensor) -> slice:
        """From the first to the last point whose voxel before is among the wanted ones (one boolean per voxel of the axis)."""
        points = wanted[self.before].nonzero().flatten()
        return slice(int(points[0]), int(points[-1]) + 1) if len(points) else slice(0, 0)

    def blend(self, values: Tensor, dim: int) -> Tensor:
        """Interpolate along one dimension of `values`."""
        before, after = values.index_select(dim, self.before), values.index_select(dim, self.after)
        return torch.lerp(before, after, self.weight.view([-1 if d == dim else 1 for d in range(values.ndim)]))

    def matrix(self, size: int) -> Tensor:
        """The same interpolation as a matrix (size, n): along the last dimension a product is faster than picking."""
        matrix = torch.zeros((size, len(self.before)), device=self.weight.device)
        points = torch.arange(len(self.before), device=self.weight.device)
        matrix[self.before, points] = 1 - self.weight
        matrix[self.after, points] += self.weight
        return matrix


class _Slices:
    """Slices of a volume (K, X, Y, Z) across one axis, interpolated along the other two; remembers the last two it made."""

    def __init__(self, values: Tensor, axes: list[Axis], slab_axis: int) -> None:
        self.values, self.slab_axis = values, slab_axis
        self.rows, columns = (axes[axis] for axis in range(3) if axis != slab_axis)
        self.columns = columns.matrix(values.shape[3 if slab_axis != 2 else 2])
        self.made: dict[int, Tensor] = {}

    def __getitem__(self, index: int) -> Tensor:
        if index not in self.made:
            self.made = {i: made for i, made in self.made.items() if i == index - 1}
            self.made[index] = self.rows.blend(self.values.select(self.slab_axis + 1, index) @ self.columns, 1)
        return self.made[index]

    def between(self, axis: Axis, i: int) -> Tensor:
        """The slice (K, ., .) at point i of the wanted grid's slab axis."""
        before, after, weight = int(axis.before[i]), int(axis.after[i]), float(axis.weight[i])
        first = self[before]
        return torch.lerp(first, self[after], weight) if weight else first


def _upright(logits: Tensor, cells: Tensor, axes: list[Axis], slab_axis: int, which: range) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of a grid whose axes are those of the logits' grid."""
    first, second = (axes[axis] for axis in range(3) if axis != slab_axis)
    along = axes[slab_axis]
    slices = _Slices(logits, axes, slab_axis)
    size = len(first.before), len(second.before)
    for i in which:
        plane = cells.select(slab_axis, int(along.before[i]))
        labels = torch.zeros(size, dtype=torch.uint8, device=logits.device)
        # where all cells are of the first class there is nothing to look up
        rows, columns = first.reached(plane.any(1)), second.reached(plane.any(0))
        part = plane.index_select(0, first.before[rows]).index_select(1, second.before[columns])
        mixed = part == MIXED
        count = int(mixed.sum())
        if count > DENSE_SHARE * labels.numel():
            labels = _labels(slices.between(along, i))
        else:
            if count:
                places = zip((first.part(rows), second.part(columns)), mixed.nonzero(as_tuple=True), strict=True)
                points = [axis.part(index) for axis, index in places]
                points.insert(slab_axis, along.part(torch.full((count,), i, device=logits.device)))
                part[mixed] = _argmax(logits, points)
            labels[rows, columns] = part
        yield slice(i, i + 1), labels.unsqueeze(slab_axis).cpu().numpy()


def _argmax(logits: Tensor, points: list[Axis]) -> Tensor:
    """Labels of single points, in pieces that bound the memory."""
    n = len(points[0].before)
    pieces = (slice(start, start + CHUNK // 4) for start in range(0, n, CHUNK // 4))
    return torch.cat([_labels(_pick(logits, [axis.part(piece) for axis in points])) for piece in pieces])


def _pick(logits: Tensor, points: list[Axis]) -> Tensor:
    """Interpolated values (K, N) at single points, each given by its place along the three axes."""
    flat = logits.flatten(1)
    strides = (logits.shape[2] * logits.shape[3], logits.shape[3], 1)
    total = torch.zeros((len(logits), len(points[0].before)), device=logits.device)
    for corner in range(8):
        sides = [(bool(corner & bit), axis) for bit, axis in zip((4, 2, 1), points, strict=True)]
        x, y, z = ((axis.after if after else axis.before) * stride for (after, axis), stride in zip(sides, strides, strict=True))
        a, b, c = (axis.weight if after else 1 - axis.weight for after, axis in sides)
        total.addcmul_(flat.index_select(1, x + y + z), a * b * c)
    return total


def _oblique(
    matrix: np.ndarray, shape: Sequence[int], logits: Tensor, slab_axis: int, which: range
) -> Iterator[tuple[slice, list[int], list[Axis]]]:
    """Slabs of a grid whose axes are at any angle to those of the logits' grid: the slice, its sizes, and its points."""
    face = int(np.prod([n for axis, n in enumerate(shape) if axis != slab_axis]))
    depth = max(1, CHUNK // 4 // max(1, face))
    for start in which[::depth]:
        where = slice(start, min(which.stop, start + depth))
        ranges = [np.arange(n) if axis != slab_axis else np.arange(where.start, where.stop) for axis, n in enumerate(shape)]
        points = []
        for axis, size in enumerate(logits.shape[1:]):
            along = [matrix[axis, i] * r.reshape([-1 if d == i else 1 for d in range(3)]) for i, r in enumerate(ranges)]
            points.append(Axis.at((along[0] + along[1] + along[2] + matrix[axis, 3]).ravel(), size, logits.device))
        yield where, [len(r) for r in ranges], points
