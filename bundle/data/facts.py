"""What one file of a data set holds, measured in one pass in bounded memory: the facts that the checks judge.

Facts are plain dictionaries (JSON), so that they can be kept: `FactCache` measures a file again only when its size or its
time of change differs. They know nothing of `labels` or splits; changing those costs no second look at the voxels.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bundle.data.datalist import ENDINGS

VERSION = 1  # of the facts: caches of other versions are dropped
CHUNK = 1 << 21  # voxels looked at at once
FARTHEST = (-(2**15), 2**18)  # intensities beyond are counted as these: no CT has them
MOST_VALUES = 400_000  # different values that are kept apart: no label map has so many
PERCENTILES = (0.5, 5, 25, 50, 75, 95, 99.5)
UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, RuntimeError)


def image_facts(path: str) -> dict:
    """Grid, value range, non-finite voxels and fingerprint of an image; `error` where it cannot be read to its end.

    `histogram` is over whole Hounsfield units, `[[value, count], ...]` thinned to steps of 10. The fingerprint is a hash of
    the exact histogram and the sorted shape: the same scan stored flipped, renamed or recompressed has the same one.
    """
    facts, volume = _header(path)
    if volume is None:
        return facts
    tally, bad, lowest, highest = {}, 0, np.inf, -np.inf
    try:
        for values in volume.chunks():
            finite = np.isfinite(values) if values.dtype.kind == "f" else None
            if finite is not None and not finite.all():
                bad += int(values.size - finite.sum())
                values = values[finite]
            if values.size:
                lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
                _count(tally, np.clip(values, *FARTHEST) if highest > FARTHEST[1] or lowest < FARTHEST[0] else values)
    except UNREADABLE as error:
        return facts | {"error": _said(error)}
    levels = np.array(sorted(tally), dtype=np.float64)
    counts = np.array([tally[level] for level in sorted(tally)], dtype=np.int64)
    span = {"minimum": lowest, "maximum": highest} if len(levels) else {}
    return facts | {"nonfinite": bad, **_statistics(levels, counts, facts["shape"]), **span}


def label_facts(path: str) -> dict:
    """Grid of a label map, how many voxels each value has, and voxels that are not whole or not finite."""
    facts, volume = _header(path)
    if volume is None:
        return facts
    counts: dict[int, int] = {}
    fractions, bad, example = 0, 0, None
    try:
        for values in volume.chunks():
            if values.dtype.kind == "f":
                finite = np.isfinite(values)
                bad += int(values.size - finite.sum())
                values = values[finite]
                whole = values == np.rint(values)
                if not whole.all():
                    example = float(values[~whole][0]) if example is None else example
                    fractions += int(values.size - whole.sum())
                    values = values[whole]
            _count(counts, values)
    except UNREADABLE as error:
        return facts | {"error": _said(error)}
    ordered = {str(int(value)): counts[value] for value in sorted(counts)}
    return facts | {"nonfinite": bad, "fractions": fractions, "fraction_example": example, "counts": ordered}


class FactCache:
    """Facts kept in a JSON file, valid as long as a file's size and time of change stay what they were.

    Args:
        path: the JSON file; None keeps nothing. An unreadable or older one is dropped, not an error.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path, self.known, self.changed = path, {}, False
        with contextlib.suppress(OSError, ValueError, AttributeError):
            content = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
            self.known = content.get("files", {}) if content.get("version") == VERSION else {}

    def get(self, kind: str, file: str) -> dict | None:
        """Facts known of `file` (kind `image` or `label`), None where they must be measured."""
        entry = self.known.get(f"{kind}:{file}")
        return entry["facts"] if entry and entry["stamp"] == stamp(file) else None

    def put(self, kind: str, file: str, before: list[int] | None, facts: dict) -> None:
        """Keep facts measured while the file's stamp was `before`."""
        if before is not None:
            self.known[f"{kind}:{file}"] = {"stamp": before, "facts": facts}
            self.changed = True

    def save(self) -> None:
        """Write the file whole, aside first; a folder that cannot be written to keeps no cache and stops nobody."""
        if not self.path or not self.changed:
            return
        aside = f"{self.path}.{os.getpid()}.tmp"
        with contextlib.suppress(OSError):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            Path(aside).write_text(json.dumps({"version": VERSION, "files": self.known}), encoding="utf-8")
            os.replace(aside, self.path)


def stamp(file: str) -> list[int] | None:
    """Size and time of change (ns) of a file, None where there is none or it is a folder."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns] if Path(file).is_file() else None


class _NiftiVolume:
    """The voxels of a NIfTI file, in chunks, with the header's slope and intercept applied; read to the very end."""

    def __init__(self, path: str, image: object) -> None:
        self.path, self.proxy = path, image.dataobj
        self.dtype, self.voxels = self.proxy.dtype, int(np.prod(self.proxy.shape, dtype=np.int64))
        self.slope, self.inter = float(self.proxy.slope), float(self.proxy.inter)

    def chunks(self) -> Iterator[np.ndarray]:
        with open(self.path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.open(file) if packed else contextlib.nullcontext(file) as stream:
                _read(stream, self.proxy.offset)
                for start in range(0, self.voxels, CHUNK):
                    number = min(CHUNK, self.voxels - start)
                    yield self._scaled(np.frombuffer(_read(stream, number * self.dtype.itemsize), self.dtype))
                while stream.read(1 << 20):  # gzip checks its sum at the end only
                    pass

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        raw = raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))
        return raw if (self.slope, self.inter) == (1.0, 0.0) else raw * self.slope + self.inter


class _LoadedVolume:
    """The voxels of a file in another format than NIfTI, as MONAI's ITK reader gives them."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array.reshape(-1)

    def chunks(self) -> Iterator[np.ndarray]:
        for start in range(0, self.array.size, CHUNK):
            yield self.array[start : start + CHUNK]


def _header(path: str) -> tuple[dict, _NiftiVolume | _LoadedVolume | None]:
    """Facts of the header and the volume to read; no volume where the header cannot be read or is not of a 3D scalar grid."""
    try:
        facts, volume, dtype = _nifti(path) if path.lower().endswith(ENDINGS) else _other(path)
    except Exception as error:  # nibabel's, ITK's and MONAI's own exceptions share no base class
        return {"error": _said(error)}, None
    while len(facts["shape"]) > 3 and facts["shape"][-1] == 1:
        facts["shape"].pop()
    usable = dtype.kind in "biuf" and len(facts["shape"]) == 3 and min(facts["shape"]) > 0
    return facts, volume if usable else None


def _nifti(path: str) -> tuple[dict, _NiftiVolume, np.dtype]:
    import nibabel

    image = nibabel.load(path)
    dtype, affine = image.get_data_dtype(), np.asarray(image.affine, dtype=float).tolist()
    facts = {"shape": [int(size) for size in image.shape], "affine": affine, "dtype": dtype.name, **_forms(image.header)}
    return facts, _NiftiVolume(path, image), dtype


def _other(path: str) -> tuple[dict, _LoadedVolume, np.dtype]:
    from monai.transforms import LoadImage

    loaded = LoadImage("ITKReader", image_only=True, dtype=None)(path)
    array = np.asarray(loaded)
    facts = {"shape": list(array.shape), "affine": np.asarray(loaded.affine, dtype=float).tolist(), "dtype": array.dtype.name}
    return facts, _LoadedVolume(array), array.dtype


def _forms(header: object) -> dict:
    """How far qform and sform disagree (mm at the far corner), None where one of them is not set, and whether neither is."""
    quaternion, standard = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    gap = None
    if quaternion is not None and standard is not None:
        corner = np.array([*header.get_data_shape()[:3], 1.0])
        gap = float(np.abs((quaternion - standard) @ corner).max())
    return {"forms_gap_mm": gap, "no_orientation": quaternion is None and standard is None}


def _read(stream: object, number: int) -> bytes:
    parts = []
    while number > 0:
        part = stream.read(number)
        if not part:
            raise EOFError(f"it ends {number} bytes too early")
        parts.append(part)
        number -= len(part)
    return b"".join(parts)


def _count(tally: dict[int, int], values: np.ndarray) -> None:
    """Add the number of voxels of each value, rounded to whole numbers, to `tally`."""
    if not values.size:
        return
    if values.dtype.kind == "f":
        values = np.rint(np.clip(values, -(2.0**31), 2.0**31 - 1)).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low < 1 << 20:
        counts = np.bincount(values.astype(np.int64, copy=False) - low if low else values.astype(np.int64, copy=False))
        (found,) = np.nonzero(counts)
        pairs = zip((found + low).tolist(), counts[found].tolist(), strict=True)
    else:
        found, number = np.unique(values, return_counts=True)
        pairs = zip(found.tolist(), number.tolist(), strict=True)
    for value, number in pairs:
        if value in tally or len(tally) < MOST_VALUES:
            tally[value] = tally.get(value, 0) + number


def _statistics(levels: np.ndarray, counts: np.ndarray, shape: list[int]) -> dict:
    """Range, mean, sd, percentiles, thinned histogram and fingerprint from an exact histogram; empty where it is empty."""
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


def _said(error: BaseException) -> str:
    """The error in one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
