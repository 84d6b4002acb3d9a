"""What is known about a scan once it has been segmented: for the table, the pictures and for `segment(..., details=True)`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bundle import labels as label_block
from bundle.engines.case import Case
from bundle.quality.cases import CaseResult
from bundle.transforms.crop_organs import look_notes
from bundle.transforms.keep_pieces import left_out
from bundle.transforms.shape_prior import NOTES


@dataclass(frozen=True)
class SegmentedStructure:
    """One structure in one scan; what is not known, or has no meaning where nothing was found, is None.

    Attributes:
        name, value: as in the `labels` block; `labels == value` are its voxels.
        volume_ml: 0 where it was not found.
        mean_hu, sd_hu: of the scan inside it; NaN and infinite values count as air.
        centroid_mm: centre of mass in RAS+ millimetres.
        components: pieces.
        left_out_ml: small pieces that were found and are not in the label map (`keep_pieces`).
        touches_border: whether it reaches the border of the scan.
        confidence: mean probability of its voxels.
        expected_dice: the Dice that the probabilities themselves predict.
        flip_disagreement: 1 - Dice against the mirror image, with `flips=True`.
    """

    name: str
    value: int
    volume_ml: float
    mean_hu: float | None
    sd_hu: float | None
    centroid_mm: tuple[float, float, float] | None
    components: int | None
    left_out_ml: float
    touches_border: bool | None
    confidence: float | None
    expected_dice: float | None
    flip_disagreement: float | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The label map of one scan, and what `cases.csv` says about it.

    Attributes:
        labels: uint8 (X, Y, Z) on the grid of the scan.
        affine: (4, 4), from voxel indices to RAS+ millimetres.
        structures: in the order of the `labels` block, those that were not found included.
        review: whether a person should look at it.
        reasons: why, in words, the gravest first.
        score: 1 (nothing against it) to 0 (surely wrong): to sort by.
        source: where the scan came from; "image" for voxels.
    """

    labels: np.ndarray = field(repr=False)
    affine: np.ndarray = field(repr=False)
    structures: list[SegmentedStructure]
    review: bool
    reasons: list[str]
    score: float
    source: str

    def __getitem__(self, name: str) -> SegmentedStructure:
        """The structure of this name.

        Raises:
            KeyError: there is none.
        """
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise KeyError(f"{name}: the structures are {', '.join(one.name for one in self.structures)}")


def case_result(
    case: Case, labels: label_block.Labels, source: str | os.PathLike, reference_ranges: Mapping[str, Any] | None = None
) -> CaseResult:
    """A case whose label map (`case.label_map()`) is on the grid of its scan, ready to be measured and judged.

    Args:
        case: with `scan` as it was loaded, and what the network said about its confidence.
        labels: the `labels` block.
        source: where the scan came from.
        reference_ranges: what is usual; None: the literature's.
    """
    names, values = label_block.names(labels), label_block.output_values(labels)
    structures = dict(zip(names[1:], values[1:], strict=True))
    by_name = dict(zip(names, case.confidence, strict=False))
    scan, found = case.loaded_scan(), case.label_map()
    values_found = np.asarray(found.as_tensor()[0])
    return CaseResult(
        name=case.name,
        source=str(source),
        image=np.asarray(scan.as_tensor()),
        labels=values_found,
        affine=np.asarray(found.affine, dtype=np.float64),
        structures=structures,
        confidence={name: sure for name in structures if (sure := by_name.get(name)) is not None},
        flip_disagreement=dict(zip(names[1:], case.flip_disagreement[1:], strict=False)) or None,
        left_out=left_out(found, structures),
        seconds=dict(case.seconds),
        reference_ranges=reference_ranges,
        orientation_known=bool(scan.meta.get("orientation_known", True)),
        not_numbers=int(scan.meta.get("not_numbers", 0)),
        notes=[*case.notes, *look_notes(values_found, case.data["image"], structures), *found.meta.get(NOTES, [])],
    )


def details(result: CaseResult) -> Segmentation:
    """The same for programs: label map, measurements and judgement."""
    structures = []
    for name, one in result.measured.items():
        mean, _, expected = (*(result.confidence or {}).get(name, ()), None, None, None)[:3]
        measured = (one.volume_ml, one.mean_hu, one.sd_hu, one.centroid_mm, one.components)
        apart = result.left_out_ml(name), one.touches_border
        disagreement = (result.flip_disagreement or {}).get(name)
        structures.append(SegmentedStructure(name, result.structures[name], *measured, *apart, mean, expected, disagreement))
    judgement = result.judgement
    labels, affine = result.label_map()
    return Segmentation(labels, affine, structures, judgement.review, list(judgement.reasons), judgement.score, result.source)
