"""`cases.csv`: one row per case and structure, with what a person needs to know about it. Interrupted runs keep their rows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bundle import grids
from bundle.quality.measure import Structure, measure_structures
from bundle.quality.review import Judgement, judge
from bundle.quality.scan_check import check_scan
from bundle.results import outputs
from bundle.tables import read_table, write_csv

CSV_NAME = outputs.TABLE
COLUMNS = (
    "case",
    "source",
    "status",
    "review",
    "score",
    "structure",
    "volume_ml",
    "mean_hu",
    "sd_hu",
    "centroid_x_mm",
    "centroid_y_mm",
    "centroid_z_mm",
    "touches_border",
    "components",
    "left_out_ml",
    "confidence_mean",
    "confidence_min",
    "expected_dice",
    "flip_disagreement",
    "reasons",
    "voxels",
    "spacing_mm",
    "field_of_view_mm",
    "seconds",
    "error",
)


@dataclass(eq=False)
class CaseResult:
    """Everything that is known about one case once it has been segmented, or why it was not.

    Args:
        name: of the case, unique in its folder of results.
        source: where the scan came from.
        image: (X, Y, Z) in HU on the source grid; None when the case failed.
        labels: (X, Y, Z) whole numbers on the same grid; None when the case failed.
        affine: (4, 4), from voxel indices to RAS+ millimetres.
        structures: name to value in `labels`; the background may be among them.
        confidence: structure to (mean, minimum) of the network's probability inside it, or to a
            `bundle.inferers.confidence.Confidence`, if known.
        flip_disagreement: structure to 1 - Dice against the labels of the flipped scan, if known.
        left_out: structure to the voxels that were found, but left out of `labels` as small pieces.
        seconds: stage to seconds that it took.
        error: why the case failed; None when it did not.
        reference_ranges: what is usual for the structures (`bundle.quality.ranges.load_ranges`); None: the literature's.
        orientation_known: whether the scan's file says which side is which.
        not_numbers: how many voxels of the scan were NaN or infinite, and are air in `image`.
        colours: of the structures, by name; None: those of `bundle.structures`.
        notes: (weight, words) for what was odd about the scan, or on its way to its label map; reasons to review it.
    """

    name: str
    source: str
    image: np.ndarray | None = None
    labels: np.ndarray | None = None
    affine: np.ndarray | None = None
    structures: Mapping[str, int] = field(default_factory=dict)
    confidence: Mapping[str, Sequence[float]] | None = None
    flip_disagreement: Mapping[str, float] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    reference_ranges: Mapping[str, Any] | None = None
    orientation_known: bool = True
    not_numbers: int = 0
    colours: Mapping[str, tuple[int, int, int]] | None = None
    notes: Sequence[tuple[float, str]] = ()
    _measured: dict[str, Structure] | None = field(default=None, init=False, repr=False)
    _judgement: Judgement | None = field(default=None, init=False, repr=False)

    @property
    def measured(self) -> dict[str, Structure]:
        """Structure to its measurements, taken once."""
        if self._measured is None:
            labels, affine = self.label_map()
            self._measured = measure_structures(labels, affine, self.structures, image=self.image)
        return self._measured

    @property
    def judgement(self) -> Judgement:
        """Score and reasons for a review, weighed once; a failed case has the score 0."""
        if self._judgement is None:
            if self.error is not None:
                self._judgement = Judgement([f"failed: {self.error}"], 0.0)
            else:
                scan = []
                if self.image is not None:
                    scan = check_scan(self.image, self.label_map()[1], self.orientation_known, self.not_numbers)
                self._judgement = judge(
                    self.measured,
                    confidence=self.confidence,
                    flip_disagreement=self.flip_disagreement,
                    left_out_ml={name: self.left_out_ml(name) for name in self.left_out},
                    ranges=self.reference_ranges,
                    scan=[*self.notes, *scan],
                )
        return self._judgement

    def left_out_ml(self, name: str) -> float:
        """Volume in ml of the small pieces of a structure that were left out."""
        return self.left_out.get(name, 0) * grids.voxel_ml(self.label_map()[1])

    def label_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and affine.

        Raises:
            ValueError: there are none, as the case failed.
        """
        if self.labels is None or self.affine is None:
            raise ValueError(f"case {self.name} has no labels")
        return self.labels, self.affine

    def to_show(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, labels and affine, for a picture.

        Raises:
            ValueError: the case failed, so that there is nothing to show.
        """
        if self.error is not None or self.image is None or self.labels is None:
            raise ValueError(f"case {self.name} has no image or no labels to show")
        return self.image, *self.label_map()


def case_rows(result: CaseResult) -> list[dict[str, Any]]:
    """Rows of `cases.csv` for one case: one per structure, or a single one with the error of a failed case.

    Values are ready to be written: numbers, "yes" / "no", words; what is unknown is an empty string.
    `review`, `score` and `reasons` are about the whole case and the same in each of its rows.
    """
    judgement = result.judgement
    common = dict.fromkeys(COLUMNS, "") | {
        "case": result.name,
        "source": str(result.source),
        "status": "ok" if result.error is None else "failed",
        "review": _word(judgement.review),
        "score": _number(judgement.score, 3),
        "reasons": "; ".join(judgement.reasons),
        "seconds": _number(sum(result.seconds.values()), 2) if result.seconds else "",
        "error": " ".join(str(result.error).split()) if result.error is not None else "",
    }
    if result.error is not None:
        return [common]
    labels, affine = result.label_map()
    spacing, shape = grids.spacing(affine), labels.shape
    common |= {
        "voxels": "x".join(str(n) for n in shape),
        "spacing_mm": "x".join(f"{s:.4g}" for s in spacing),
        "field_of_view_mm": "x".join(f"{s * n:.0f}" for s, n in zip(spacing, shape, strict=True)),
    }
    return [common | _structure_columns(structure, result) for structure in result.measured.values()]


def _structure_columns(structure: Structure, result: CaseResult) -> dict[str, Any]:
    # (mean, minimum) or a Confidence, which also has the expected Dice
    mean, minimum, expected = (*(result.confidence or {}).get(structure.name, ()), None, None, None)[:3]
    x, y, z = structure.centroid_mm or (None, None, None)
    return {
        "structure": structure.name,
        "volume_ml": _number(structure.volume_ml, 3),
        "mean_hu": _number(structure.mean_hu, 1),
        "sd_hu": _number(structure.sd_hu, 1),
        "centroid_x_mm": _number(x, 1),
        "centroid_y_mm": _number(y, 1),
        "centroid_z_mm": _number(z, 1),
        "touches_border": _word(structure.touches_border),
        "components": 0 if structure.components is None else structure.components,
        "left_out_ml": _number(result.left_out_ml(structure.name), 3),
        "confidence_mean": _number(mean, 4),
        "confidence_min": _number(minimum, 4),
        "expected_dice": _number(expected, 4),
        "flip_disagreement": _number((result.flip_disagreement or {}).get(structure.name), 4),
    }


def write_cases_csv(output_dir: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Put rows into `cases.csv` of a folder: rows of the same case are replaced, those of other cases stay.

    The file is written aside and then renamed, so it is whole at any moment; cases are sorted by name.
    """
    by_case: dict[str, list[Mapping[str, Any]]] = {}
    for old in read_cases_csv(output_dir):
        by_case.setdefault(old["case"], []).append(old)
    fresh: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        fresh.setdefault(str(row["case"]), []).append(row)
    by_case |= fresh
    return write_rows(output_dir, [row for case in sorted(by_case) for row in by_case[case]])


def write_rows(output_dir: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write `cases.csv` of a folder with these rows and no others, whole at any moment."""
    return write_csv(Path(output_dir) / CSV_NAME, COLUMNS, rows)


def read_cases_csv(output_dir: str | os.PathLike, needed: Sequence[str] = ("case",)) -> list[dict[str, str]]:
    """Rows of a folder's `cases.csv` as text, with these columns at least; an empty list where there is none.

    Raises:
        UserError: it is no table of cases, such as one that was saved with other separators.
    """
    path = Path(output_dir) / CSV_NAME
    if not path.is_file():
        return []
    fix = "run inference on that folder again, which writes the table anew from its records; cells are separated by commas"
    return [row for row in read_table(path, needed, fix) if row["case"]]


def _number(value: float | None, digits: int) -> float | str:
    return "" if value is None or not np.isfinite(value) else round(float(value), digits)


def _word(value: bool | None) -> str:
    return "" if value is None else ("yes" if value else "no")
