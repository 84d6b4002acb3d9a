"""What one file of a data set holds, measured in one pass in bounded memory: the facts that the checks judge.

Facts are plain dictionaries (JSON), so that they can be kept (`fact_cache.FactCache`). They know nothing of `labels` or
splits; changing those costs no second look at the voxels.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator

import numpy as np

from bundle import grids
from bundle.data.checks.tally import Tally
from bundle.errors import UserError
from bundle.images.names import kind
from bundle.images.nifti import Stored, header
from bundle.images.reading import read, read_channel
from bundle.images.voxels import check_size
from bundle.labels import TOLERANCE

VERSION = 5  # of the facts: caches of other versions are dropped
CHUNK = 1 << 19  # voxels looked at at once, about: whole slices
THIN_MM = 3.0  # how far apart voxels may be to see which way round a label is
MOST_THINNED = 4_000_000  # voxels that are kept for it at most
PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, RuntimeError, MemoryError)


def case_facts(image: str, label: str | None = None, channels: int = 1) -> tuple[dict, dict | None]:
    """Facts of an image and of its label; the label's have `fit`, how well each flip of it fits the image.

    `channels`: as many volumes may be on the fourth axis of the image, of which the first is looked at.

    `fit` holds the eight numbers of `orientation.fit`, in the order of its `FLIPS`, from every third millimetre of the scans.
    """
    thin = Thinned()
    found = image_facts(image, thin, (0, channels))
    if label is None:
        return found, None
    image_voxels, edges, thin.parts = thin.array(), np.array(thin.steps, dtype=float), []
    said = label_facts(label, thin, found)
    label_voxels = thin.array()
    if image_voxels is None or label_voxels is None or image_voxels.shape != label_voxels.shape or "error" in {**found, **said}:
        return found, said
    edges *= grids.spacing(np.array(found["affine"]))
    if np.isfinite(edges).all() and edges.min() > 0:
        from bundle.data.checks.orientation import fit

        scores = fit(np.nan_to_num(image_voxels), np.clip(np.rint(np.nan_to_num(label_voxels)), 0, 255).astype(np.uint8), tuple(edges))
        said["fit"] = [round(float(score), 4) for score in scores.values()]
    return found, said


def channel_facts(path: str, kind_of_channel: str, volume: tuple[int, int] = (0, 1)) -> dict:
    """Facts of a further channel, as `image_facts`; a PET that is DICOM in SUV.

    Args:
        path: the file, or the folder of a series.
        kind_of_channel: a key of `bundle.channels.KINDS`.
        volume: which one it is, of how many on the fourth axis of the file.
    """
    if volume[1] > 1 or (not os.path.isdir(path) and kind(path) in ("nifti", "mgh")):
        return image_facts(path, None, volume)
    try:
        array, affine, extra = read_channel(path, kind_of_channel)
    except UserError as error:
        return _error_of(error)
    facts = {"shape": list(array.shape), "affine": affine.tolist(), "dtype": array.dtype.name}
    return _measured({**facts, "no_orientation": not extra["orientation_known"]}, _LoadedVolume(array))


def image_facts(path: str, thin: Thinned | None = None, volume: tuple[int, int] = (0, 1)) -> dict:
    """Grid, value range, non-finite voxels and fingerprint of an image; `error` where it cannot be read to its end.

    `histogram` is over whole Hounsfield units, `[[value, count], ...]` thinned to steps of 10. The fingerprint is a hash of
    the exact histogram and the sorted shape: the same scan stored flipped, renamed or recompressed has the same one.
    `volume` says which one is looked at, of how many on the fourth axis.
    """
    facts, voxels = _header(path, thin, volume)
    return facts if voxels is None else _measured(facts, voxels)


def _measured(facts: dict, voxels: _NiftiVolume | _LoadedVolume) -> dict:
    """The facts of a header, with those of the voxels of an image."""
    tally, bad, lowest, highest = Tally(), 0, np.inf, -np.inf
    try:
        for values in voxels.chunks():
            finite = np.isfinite(values) if values.dtype.kind == "f" else None
            if finite is not None and not finite.all():
                bad += int(values.size - finite.sum())
                values = values[finite]
            if values.size and (values.dtype.kind == "f" or values.dtype.itemsize > 2):
                lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
            tally.add(values)
    except UNREADABLE as error:
        return facts | _error_of(error)
    counts = tally.counts()
    span = {"minimum": lowest, "maximum": highest} if lowest <= highest else {}  # exact, where the tally rounds
    return facts | {"nonfinite": bad, **_statistics(counts, facts["shape"]), **span}


def label_facts(path: str, thin: Thinned | None = None, image: dict | None = None) -> dict:
    """Grid of a label map, how many voxels each value has, and voxels that are not whole or not finite.

    `image` are the facts of its image: with them `thin` keeps the label's voxels in the image's order of axes.
    """
    facts, volume = _header(path, thin)
    if volume is None:
        return facts
    if thin is not None and image is not None:
        thin.turn(facts, image)
    tally, fractions, bad, example = Tally(), 0, 0, None
    try:
        for values in volume.chunks():
            if values.dtype.kind == "f":
                finite = np.isfinite(values)
                bad += int(values.size - finite.sum())
                values = values[finite]
                whole = np.abs(values - np.rint(values)) <= TOLERANCE
                if not whole.all():
                    example = float(values[~whole][0]) if example is None else example
                    fractions += int(values.size - whole.sum())
                    values = values[whole]
            tally.add(values)
    except UNREADABLE as error:
        return facts | _error_of(error)
    counts = {str(value): number for value, number in tally.counts().items()}
    return facts | {"nonfinite": bad, "fractions": fractions, "fraction_example": example, "counts": counts}


class Thinned:
    """Every n-th voxel of a volume that is read slices by slices, so that voxels are about `THIN_MM` apart."""

    def __init__(self) -> None:
        self.steps, self.starts = [1, 1, 1], [0, 0, 0]
        self.parts: list[np.ndarray] = []
        self.axes: grids.Axes | None = None

    def choose(self, facts: dict) -> None:
        """Choose the steps from the grid of the first volume; the second takes the same."""
        edges = grids.spacing(np.array(facts["affine"]))
        if not np.isfinite(edges).all() or edges.min() <= 0:
            edges = np.ones(3)
        steps = np.maximum(1, THIN_MM // edges).astype(int)
        while np.prod(np.ceil(np.array(facts["shape"]) / steps)) > MOST_THINNED:
            steps[np.argmin(edges * steps)] += 1
        self.steps = steps.tolist()

    def turn(self, own: dict, first: dict) -> None:
        """Keep from now on the same voxels of a second volume, where it has those of the first in another order of axes."""
        if "affine" not in own or "affine" not in first or len(own["shape"]) != 3 or len(first["shape"]) != 3:
            return
        self.axes = grids.axes_onto(own["shape"], np.array(own["affine"]), first["shape"], np.array(first["affine"]))
        if self.axes is None:
            return
        steps = self.steps
        self.steps, self.starts = [1, 1, 1], [0, 0, 0]
        for step, (axis, direction) in zip(steps, self.axes, strict=True):
            self.steps[axis] = step
            self.starts[axis] = 0 if direction > 0 else (own["shape"][axis] - 1) % step

    def take(self, slices: np.ndarray, start: int) -> None:
        """Keep what is wanted of (X, Y, n) slices, the first of which is number `start`."""
        begins = (*self.starts[:2], (self.starts[2] - start) % self.steps[2])
        self.parts.append(slices[tuple(slice(begin, None, step) for begin, step in zip(begins, self.steps, strict=True))].copy())

    def array(self) -> np.ndarray | None:
        """What was kept, (X', Y', Z') in the first volume's order of axes; None where nothing was read."""
        kept = np.concatenate(self.parts, axis=2) if self.parts else None
        return kept if kept is None or self.axes is None else grids.reorder(kept, self.axes)


class _NiftiVolume:
    """The voxels of a NIfTI file, in chunks of whole slices, with the header's slope and intercept applied; read to the very end."""

    def __init__(self, stored: Stored, thin: Thinned | None, volume: tuple[int, int] = (0, 1)) -> None:
        self.stored, self.thin, self.volume = stored, thin, volume

    def chunks(self) -> Iterator[np.ndarray]:
        rows, columns, slices = self.stored.shape[:3]
        at_once = max(1, CHUNK // (rows * columns))
        if self.volume[1] > 1:  # pieces that do not go on into the next volume
            at_once = max(n for n in range(1, min(at_once, slices) + 1) if slices % n == 0)
        check_size(self.stored.path, (rows, columns, slices), self.stored.loaded_width)
        check_size(self.stored.path, (rows, columns, at_once), 16 * self.stored.dtype.itemsize)
        self.stored.check_length()
        for number, part in enumerate(self.stored.stored(rows * columns * at_once)):
            if self.volume[1] > 1:
                index, number = divmod(number, slices // at_once)
                if index != self.volume[0]:
                    continue
            values = part * self.stored.slope + self.stored.inter if self.stored.scaled else part
            if self.thin is not None:
                start = number * at_once
                self.thin.take(values.reshape(rows, columns, min(at_once, slices - start), order="F"), start)
            yield values


class _LoadedVolume:
    """The voxels of a file in another format than NIfTI, read as a whole."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array.reshape(-1, order="F")

    def chunks(self) -> Iterator[np.ndarray]:
        for start in range(0, self.array.size, CHUNK):
            yield self.array[start : start + CHUNK]


def _header(path: str, thin: Thinned | None = None, volume: tuple[int, int] = (0, 1)) -> tuple[dict, _NiftiVolume | _LoadedVolume | None]:
    """Facts of the header and the volume to read; no volume where the header cannot be read or is not of a 3D scalar grid."""
    try:
        facts, voxels, dtype = _nifti(path, thin, volume) if kind(path) in ("nifti", "mgh") else _other(path)
    except Exception as error:  # nibabel's and ITK's own exceptions share no base class
        return _error_of(error), None
    while len(facts["shape"]) > 3 and facts["shape"][-1] == 1:
        facts["shape"].pop()
    if thin is not None and thin.steps == [1, 1, 1] and len(facts["shape"]) == 3:
        thin.choose(facts)
    usable = dtype.kind in "biuf" and len(facts["shape"]) == 3 and min(facts["shape"]) > 0
    return facts, voxels if usable else None


def _nifti(path: str, thin: Thinned | None, volume: tuple[int, int]) -> tuple[dict, _NiftiVolume, np.dtype]:
    stored = header(path)
    several = volume[1] > 1 and tuple(stored.shape[3:]) == (volume[1],)
    shape = stored.shape[:3] if several else stored.shape
    facts = {"shape": list(shape), "affine": stored.affine.tolist(), "dtype": stored.dtype.name}
    if several:
        facts["volumes"] = volume[1]
    gap = stored.forms.gap_mm(stored.shape) if stored.forms else None
    return (
        {**facts, "forms_gap_mm": gap, "no_orientation": not stored.orientation_known},
        _NiftiVolume(stored, thin, volume if several else (0, 1)),
        stored.dtype,
    )


def _other(path: str) -> tuple[dict, _LoadedVolume, np.dtype]:
    array, affine, extra = read(path)
    facts = {"shape": list(array.shape), "affine": affine.tolist(), "dtype": array.dtype.name}
    return {**facts, "no_orientation": not extra["orientation_known"]}, _LoadedVolume(array), array.dtype


def _statistics(tally: dict[int, int], shape: list[int]) -> dict:
    """Range, mean, sd, percentiles, thinned histogram and fingerprint from an exact histogram; empty where it is empty."""
    levels, counts = np.array(list(tally), dtype=np.float64), np.array(list(tally.values()), dtype=np.int64)
    total = int(counts.sum())
    if not total:
        return {"minimum": None, "maximum": None}
    mean = float((levels * counts).sum() / total)
    spread = float(np.sqrt(((levels - mean) ** 2 * counts).sum() / total))
    ranks = np.minimum(np.searchsorted(counts.cumsum(), np.array(PERCENTILES) / 100 * total), len(levels) - 1)
    body = (levels > -200) & (levels < 300)
    steps: dict[int, int] = {}
    for level, number in zip(levels.tolist(), counts.tolist(), strict=True):
        if -1500 <= level <= 3500:
            steps[int(level // 10) * 10] = steps.get(int(level // 10) * 10, 0) + number
    digest = hashlib.sha256(repr(sorted(shape)).encode() + levels.tobytes() + counts.tobytes()).hexdigest()
    return {
        "minimum": float(levels[0]),
        "maximum": float(levels[-1]),
        "mean": mean,
        "sd": spread,
        "percentiles": dict(zip(map(str, PERCENTILES), levels[ranks].tolist(), strict=True)),
        "soft_share": float(counts[body].sum() / total),
        "air_share": float(counts[levels < -800].sum() / total),
        "histogram": [[level, steps[level]] for level in sorted(steps)],
        "fingerprint": digest[:32],
    }


def _error_of(error: BaseException) -> dict[str, str]:
    """Why a file could not be read, in one line, and the fix where it is known."""
    said, fix = (error.problem, error.fix) if isinstance(error, UserError) else (str(error), "")
    return {"error": (" ".join(said.split()) or type(error).__name__)[:300], **({"fix": fix} if fix else {})}
