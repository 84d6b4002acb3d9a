"""Scores weights on the real CT at hand: `python benchmarks/real_scans.py --data FOLDER [WEIGHTS ...]`.

WEIGHTS are checkpoints, or overlays of inference that have their own (`fast`); `shipped` or none at all are those of inference.json.
Each case counts only the structures that its reference labels. A case that weights were trained on does not judge them: its row says so
and leaves the mean. `--trained_on` names them; by default they are those of the shipped weights. Scans without labels get volumes alone.
Writes a table and, with `--out`, JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bundle.engines import segment
from bundle.files import write_json
from bundle.grids import axes_onto, reorder, voxel_ml

OVERLAYS = Path(__file__).resolve().parent.parent / "configs" / "overlays" / "inference"
SHIPPED = "shipped"
STRUCTURES = {"pancreas": 1, "spleen": 2, "kidney": 3}


@dataclass(frozen=True)
class RealCase:
    """A scan, its reference, and the value of each structure in it."""

    name: str
    scan: str
    reference: str | None = None
    values: tuple[tuple[str, int], ...] = ()


CASES = (
    RealCase("nih_0002", "ct/nih_0002/ct.nii.gz", "ct/nih_0002/labels.nii.gz", (("pancreas", 1),)),
    RealCase("slab_20", "dicom/slab_20", "dicom/slab_20_structures.nii.gz", (("pancreas", 7), ("spleen", 1))),
    RealCase("torso", "ct/torso_3mm/ct.nii.gz", "ct/torso_3mm/labels.nii.gz", (("pancreas", 1), ("spleen", 2), ("kidney", 3))),
    RealCase("abdomen_168", "dicom/abdomen_168"),
    RealCase("acrin_flt_001", "ct/acrin_flt_001/ct.nii.gz"),
)

# what the shipped weights were trained on
TRAINED_ON = ["nih_0002", "torso", "abdomen_168", "acrin_flt_001"]


def options_of(weights: str) -> dict[str, str]:
    """The keys of `segment` for what the command line names."""
    if weights == SHIPPED:
        return {}
    return {"overlays": weights} if (OVERLAYS / f"{weights}.json").is_file() else {"ckpt_path": weights}


def score_case(case: RealCase, data: Path, weights: str) -> dict[str, dict[str, float]]:
    """`measured` of what a network finds in a scan."""
    return measured(case, data, segment(str(data / case.scan), **options_of(weights)))


def measured(case: RealCase, data: Path, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Dice and volume in ml of each structure in labels on the scan's grid; Dice only where the reference labels it."""
    affine = _affine(data / case.scan)
    result = {name: {"ml": float((labels == value).sum() * voxel_ml(affine))} for name, value in STRUCTURES.items()}
    if case.reference is not None:
        reference = nibabel.load(data / case.reference)
        there = np.asarray(reference.dataobj)
        axes = axes_onto(there.shape, reference.affine, labels.shape, affine)
        if axes is None:
            raise SystemExit(f"{case.reference}: its voxels are not those of {case.scan}")
        there = reorder(there, axes)
        for name, value in case.values:
            result[name]["dice"] = dice(labels == STRUCTURES[name], there == value)
    return result


def _affine(scan: Path) -> np.ndarray:
    from bundle.data.load_scan import LoadScand
    from bundle.data.scans import find_scans

    return np.asarray(LoadScand("image")(find_scans(scan)[0])["image"].affine)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Of two masks of one shape; NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else math.nan


def table(results: dict[str, dict[str, dict[str, dict[str, float]]]], trained_on: set[str]) -> str:
    """Rows of cases, columns of weights: Dice of each structure that is labelled, otherwise volumes."""
    lines = ["| case | " + " | ".join(results) + " |", "| --- |" + " --- |" * len(results)]
    for case in CASES:
        cells = [shown(scores[case.name]) for scores in results.values() if case.name in scores]
        if cells:
            mark = " (trained on)" if case.name in trained_on else ""
            lines.append(f"| {case.name}{mark} | " + " | ".join(cells) + " |")
    means = []
    for scores in results.values():
        found = [one["pancreas"]["dice"] for name, one in scores.items() if name not in trained_on and "dice" in one["pancreas"]]
        means.append(f"{np.mean(found):.3f}" if found else "")
    lines.append("| **pancreas, mean of cases not trained on** | " + " | ".join(means) + " |")
    return "\n".join(lines)


def shown(structures: dict[str, dict[str, float]]) -> str:
    """Dice of each structure, or its volume where there is none."""
    parts = [f"{name} {one['dice']:.3f}" if "dice" in one else f"{name} {one['ml']:.0f} ml" for name, one in structures.items()]
    return ", ".join(parts)


def main() -> None:
    """Read the command line, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", default=[SHIPPED], help="checkpoints, overlays of inference, or `shipped`")
    parser.add_argument("--data", default="../shared/data", help="folder of the real CT")
    parser.add_argument(
        "--trained_on", nargs="*", default=TRAINED_ON, help="cases that do not judge; by default those of the shipped weights"
    )
    parser.add_argument("--cases", nargs="*", help="only these")
    parser.add_argument("--out", help="JSON file for the figures")
    arguments = parser.parse_args()
    results: dict[str, dict] = {}
    for name in arguments.weights:
        results[name] = {}
        for case in CASES:
            if (Path(arguments.data) / case.scan).exists() and (not arguments.cases or case.name in arguments.cases):
                results[name][case.name] = score_case(case, Path(arguments.data), name)
                print(f"{name}, {case.name}: {shown(results[name][case.name])}", flush=True)
    print("\n" + table(results, set(arguments.trained_on)))
    if arguments.out:
        write_json(arguments.out, json.loads(json.dumps(results)))


if __name__ == "__main__":
    main()
