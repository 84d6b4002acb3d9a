"""Verb `ranges`: what is usual in a labelled data set, as the JSON that `bundle.quality.ranges.load_ranges` reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle import grids
from bundle import labels as label_block
from bundle.data import label_maps
from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.images import read_scan
from bundle.quality.measure import Structure, measure_structures

Measured = Mapping[str, Structure]

# a further case of the same kind is outside one of these ranges with these probabilities
OUTSIDE_VOLUME, OUTSIDE_HU, OUTSIDE_OFFSET = 0.01, 0.002, 0.002
# fewer cases say too little about what is usual
MIN_CASES = 5
# even a very even training set says nothing about differences smaller than these
MIN_HALF_HU, MIN_HALF_MM = 15.0, 15.0
# the number of pieces is usual when they hold all but this part in nine cases of ten
STRAY_FRACTION, CASES_WITHIN = 0.03, 0.9


def ranges(dataset: str, out: str = "ranges.json", labels: Mapping | str | None = None, images: str | None = None) -> None:
    """Write what is usual in a labelled data set: volume, HU, pieces and relative position of each structure.

    Args:
        dataset: folder in MSD layout (labelsTr, imagesTr), or a folder of label maps.
        out: the JSON file to write; give it to inference as `reference_ranges`.
        labels: name to value, or a JSON file with such a block; by default the data set's dataset.json.
        images: folder of the scans, for the HU; by default imagesTr next to labelsTr, else no HU.

    Raises:
        UserError: no structure is whole in five cases, or has HU in five.
    """
    base = Path(dataset)
    folder = base / "labelsTr" if (base / "labelsTr").is_dir() else base
    block = label_block.resolve(labels, [folder, folder.parent]).block
    scans = Path(images) if images else folder.parent / "imagesTr"
    maps = label_maps.find(folder)
    found = {_case(path): path for path in label_maps.find(scans, "scans").values()} if images or scans.is_dir() else {}
    learned = learn_ranges(_measure(maps, found, block), list(block)[1:])
    if not any(entry.keys() - {"cases"} for entry in learned["structures"].values()):
        there = f"{counted(learned['cases'], 'case')} with too few structures that do not reach the border of the scan"
        raise UserError(folder, f"nothing is learnt from {there}", f"give {MIN_CASES} label maps or more")
    write_json(out, learned)
    print(f"what is usual in {counted(learned['cases'], 'case')} is in {out}")


def learn_ranges(cases: Iterable[Measured], structures: Sequence[str]) -> dict[str, Any]:
    """What is usual: for each structure `volume_ml`, `mean_hu`, `pieces`; for each pair `offsets_mm`, centre to centre.

    Ranges are prediction intervals: of the normal distribution, for volumes of its logarithm. Structures that reach the
    border of a scan say nothing about volume and position. What fewer than five cases have is left out.
    """
    measured = list(cases)
    learned: dict[str, dict[str, Any]] = {}
    for name in structures:
        seen = [case[name] for case in measured if case[name].volume_ml > 0]
        whole = [structure for structure in seen if not structure.touches_border]
        entry: dict[str, Any] = {"cases": len(seen)}
        if len(whole) >= MIN_CASES:
            logs = np.log([structure.volume_ml for structure in whole])
            entry["volume_ml"] = [float(f"{np.exp(limit):.4g}") for limit in _interval(logs, OUTSIDE_VOLUME, 0.1)]
            entry["pieces"] = _pieces(whole)
        hu = [structure.mean_hu for structure in seen if structure.mean_hu is not None]
        if len(hu) >= MIN_CASES:
            entry["mean_hu"] = [round(limit, 1) for limit in _interval(np.array(hu), OUTSIDE_HU, MIN_HALF_HU)]
        learned[name] = entry
    return {"cases": len(measured), "structures": learned, "offsets_mm": _offsets(measured, structures)}


def _offsets(measured: Sequence[Measured], structures: Sequence[str]) -> dict[str, dict[str, list]]:
    offsets: dict[str, dict[str, list]] = {}
    for name, other in itertools.combinations(structures, 2):
        pairs = [(_centre(case[name]), _centre(case[other])) for case in measured]
        between = [np.subtract(one, two) for one, two in pairs if one is not None and two is not None]
        if len(between) >= MIN_CASES:
            apart = np.array(between)
            limits = [[round(v, 1) for v in _interval(column, OUTSIDE_OFFSET, MIN_HALF_MM)] for column in apart.T]
            offsets.setdefault(name, {})[other] = limits
    return offsets


def _centre(structure: Structure) -> tuple[float, float, float] | None:
    """Of a structure that was found, and is whole in the scan."""
    return None if structure.volume_ml == 0 or structure.touches_border else structure.centroid_mm


def _interval(values: np.ndarray, outside: float, least_half: float) -> tuple[float, float]:
    """Prediction interval for one more value of the same normal distribution; `outside` is the chance to be outside (Student's t)."""
    from scipy import stats

    n = len(values)
    half = float(stats.t.ppf(1 - outside / 2, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n))
    half = max(half, least_half)
    return float(values.mean()) - half, float(values.mean()) + half


def _pieces(structures: Sequence[Structure]) -> int:
    needed = []
    for structure in structures:
        rest = 1.0 - np.cumsum(structure.piece_ml) / structure.volume_ml
        needed.append(int(np.argmax(rest <= STRAY_FRACTION)) + 1 if (rest <= STRAY_FRACTION).any() else len(rest))
    return int(np.ceil(np.quantile(needed, CASES_WITHIN, method="inverted_cdf")))


def _measure(maps: Mapping[str, Path], scans: Mapping[str, Path], block: label_block.Labels) -> Iterable[Measured]:
    from tqdm import tqdm

    values = dict(zip(label_block.names(block), label_block.output_values(block), strict=True))
    for path in tqdm(maps.values(), desc="ranges", unit="case", disable=None):
        labels, affine = label_maps.read(path)
        scan = scans.get(_case(path))
        image = None if scan is None else _scan(scan, labels.shape, affine)
        yield measure_structures(merged(labels, block), affine, values, image=image)


def merged(labels: np.ndarray, block: label_block.Labels) -> np.ndarray:
    """Each structure under the first of its values."""
    several = [channel for channel in label_block.values(block) if len(channel) > 1]
    if not several:
        return labels
    merged = labels.copy()
    for channel in several:
        merged[np.isin(labels, channel)] = channel[0]
    return merged


def _case(path: Path) -> str:
    return label_maps.case_name(path).removesuffix("_0000")


def _scan(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    image, own, _ = read_scan(path)
    axes = grids.axes_onto(image.shape, own, shape, affine)
    if axes is None:
        problem = f"is on another grid than its label map: {grids.describe(image.shape, own)}; {grids.describe(shape, affine)}"
        raise UserError(path, problem, "run `python -m bundle check` on the data set")
    return grids.reorder(image, axes)
