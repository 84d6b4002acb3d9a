"""What the facts of a data set say is wrong: one problem per mistake, each with file, problem and fix.

Errors stop a training before it starts; warnings are what a person should look at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bundle import grids
from bundle import labels as label_block
from bundle.data.checks.hounsfield import SIDES_A_GUESS, Values, not_hounsfield
from bundle.data.checks.orientation import FLIPS
from bundle.data.datalist import Case
from bundle.errors import UserError, counted

FLIP_GAIN, FLIP_TIMES = 0.05, 3.0  # a flip must explain so much more, and so many times as much, to be worth a word
GRID_TOLERANCE = 0.1  # of a voxel's shortest edge: how far apart the corners of two grids may be
RIGHT_ANGLE_TOLERANCE = 0.5  # degrees


@dataclass(frozen=True)
class Problem:
    """One line of the doctor: `level` is "error" or "warning", `code` a short name that does not change."""

    level: str
    code: str
    case: str
    file: str
    problem: str
    fix: str

    def error(self) -> UserError:
        """The problem as the error that a training is stopped with."""
        return UserError(self.file, self.problem, self.fix)

    def row(self) -> dict[str, str]:
        """The problem as a row of a table."""
        return asdict(self)


def of_label(case: Case, level: str, code: str, problem: str, fix: str) -> Problem:
    """A problem of a case's label map."""
    return Problem(level, code, case.name, case.label or "", problem, fix)


def case_problems(
    case: Case, image: Mapping, label: Mapping | None, labels: label_block.Labels, meaning: Mapping[int, str] | None = None
) -> list[Problem]:
    """Everything that is wrong with one case: its image, its label, and the two together.

    `meaning` is what dataset.json calls the label values: one that it names and `labels` leaves out is not a mistake, the
    structure is not wanted and counts as background.
    """
    found = readable_problems(case, case.image, image) or [*_grid(case, case.image, image), *_intensities(case, image)]
    if label is None:
        return found
    file = case.label or ""
    names = label_block.names(labels)
    try:
        label_block.unlabelled(names[1:] if case.labelled is None else case.labelled, names, file)
    except UserError as error:
        found.append(of_label(case, "error", "labelled", error.problem, error.fix))
    found += readable_problems(case, file, label) or [*_grid(case, file, label), *_values(case, label, labels, meaning or {})]
    if not any(one.code in ("unreadable", "not 3D", "affine") for one in found):
        found += _same_grid(case, image, label) or _flipped(case, label)
    return found


def missing_problems(case: Case, label: Mapping, labels: label_block.Labels) -> list[Problem]:
    """Structures that one case does not have, of those that it is said to be labelled for."""
    counts = label.get("counts")
    if counts is None:
        return []
    block = zip(label_block.names(labels), label_block.values(labels), strict=True)
    known = label_block.names(labels) if case.labelled is None else case.labelled
    absent = [name for name, values in block if name in known and not any(str(value) in counts for value in values)]
    if not absent:
        return []
    problem = f"has no {', '.join(absent)}"
    fix = "check whether it was forgotten; a structure that was removed or is outside the scan may stay absent"
    return [of_label(case, "warning", "structure", problem, fix)]


def patch_problems(case: Case, image: Mapping, patch_mm: Sequence[float]) -> list[Problem]:
    """Scans smaller than the training patch along an axis (x, y, z in mm)."""
    if "error" in image or len(image.get("shape", ())) != 3:
        return []
    extent = extent_mm(image)
    short = [f"{axis} {have:.0f} of {want:.0f} mm" for axis, have, want in zip("xyz", extent, patch_mm, strict=True) if have < want]
    if not short:
        return []
    fix = "ignore: the patch is padded there; with many such scans take a smaller patch_size"
    return [Problem("warning", "patch", case.name, case.image, f"is smaller than the patch: {', '.join(short)}", fix)]


def spacing(facts: Mapping) -> list[float]:
    """Voxel edges in mm, in the order of the array's axes."""
    return grids.spacing(np.array(facts["affine"])).tolist()


def extent_mm(facts: Mapping) -> list[float]:
    """Size of the scan along the body's axes (right-left, back-front, feet-head) in mm."""
    axes = np.abs(np.array(facts["affine"])[:3, :3])
    return (axes @ np.array(facts["shape"][:3])).tolist()


def volumes_ml(facts: Mapping, labels: label_block.Labels) -> dict[str, float]:
    """Volume in ml of each structure of a label map; nothing where it could not be read."""
    if "counts" not in facts:
        return {}
    voxel = grids.voxel_ml(np.array(facts["affine"]))
    block = zip(label_block.names(labels), label_block.values(labels), strict=True)
    return {name: sum(facts["counts"].get(str(value), 0) for value in values) * voxel for name, values in block}


def readable_problems(case: Case, file: str, facts: Mapping) -> list[Problem]:
    """Why one file of a case cannot be used at all."""
    if "error" in facts:
        fix = f"{facts.get('fix', 'copy or download it again')}, or take the case out"
        return [Problem("error", "unreadable", case.name, file, f"cannot be read ({facts['error']})", fix)]
    if len(facts["shape"]) != 3 or min(facts["shape"]) < 1:
        size = "x".join(map(str, facts["shape"]))
        return [Problem("error", "not 3D", case.name, file, f"is not a 3D volume (size {size})", "give one volume per file")]
    if min(facts["shape"]) < 2:  # which no training and no inference reads
        size = "x".join(map(str, facts["shape"]))
        return [
            Problem("error", "not 3D", case.name, file, f"is one voxel thin (size {size})", "give the whole series, 2x2x2 voxels or more")
        ]
    if "minimum" not in facts and "counts" not in facts:
        return [Problem("error", "not 3D", case.name, file, f"has voxels of the type {facts['dtype']}", "store one number per voxel")]
    return []


def _grid(case: Case, file: str, facts: Mapping) -> list[Problem]:
    affine = np.array(facts["affine"])
    if not np.isfinite(affine).all():
        row = next(row for row in affine.tolist() if not np.isfinite(row).all())
        return [Problem("error", "affine", case.name, file, f"its affine is not finite ({row})", "write it again with a valid affine")]
    edges = grids.spacing(affine)
    if edges.min() < 1e-3 or grids.is_singular(affine):
        problem = f"its affine is singular (voxel edges {_mm(edges)})"
        return [Problem("error", "affine", case.name, file, problem, "write it again with a valid affine")]
    found = []
    cosines = (affine[:3, :3] / edges).T @ (affine[:3, :3] / edges)
    tilt = float(np.degrees(np.arcsin(min(1.0, np.abs(cosines - np.eye(3)).max()))))
    if tilt > RIGHT_ANGLE_TOLERANCE:
        problem = f"its axes are {tilt:.1f} degrees off a right angle (sheared affine, as of a tilted gantry)"
        fix = "ignore where the tilt is real: it is resampled upright before the network; otherwise correct the affine"
        found.append(Problem("warning", "sheared", case.name, file, problem, fix))
    if edges.max() > 12 or edges.min() < 0.2:
        problem = f"its voxels measure {_mm(edges)}"
        found.append(Problem("warning", "spacing", case.name, file, problem, "make sure that the affine is in mm"))
    if facts.get("no_orientation"):
        found.append(Problem("warning", "orientation", case.name, file, SIDES_A_GUESS, "convert it again from its source"))
    if (facts.get("forms_gap_mm") or 0) > GRID_TOLERANCE * edges.min():
        problem = f"its qform and sform disagree by {facts['forms_gap_mm']:.1f} mm; the sform is used"
        found.append(Problem("warning", "qform", case.name, file, problem, "other tools may use the other: make them the same"))
    return found


def _intensities(case: Case, facts: Mapping) -> list[Problem]:
    def problem_of(level: str, code: str, problem: str, fix: str) -> list[Problem]:
        return [Problem(level, code, case.name, case.image, problem, fix)]

    if facts["nonfinite"]:
        fix = "replace them by air (-1024), or convert the scan again"
        return problem_of("error", "NaN", f"has {_voxels(facts['nonfinite'], 'NaN or infinite', 'NaN or infinite')}", fix)
    values = Values(facts["minimum"], facts["maximum"], facts["soft_share"], facts["histogram"], int(np.prod(facts["shape"])))
    said = not_hounsfield(values)
    if said is None:
        return []
    code, problem, fix = said
    return problem_of("error" if code == "constant" else "warning", code, problem, fix)


def _values(case: Case, facts: Mapping, labels: label_block.Labels, meaning: Mapping[int, str]) -> list[Problem]:
    found = []
    if facts["nonfinite"]:
        problem = f"has {_voxels(facts['nonfinite'], 'NaN or infinite', 'NaN or infinite')}"
        found.append(of_label(case, "error", "label NaN", problem, "write the label map again, as whole numbers"))
    if facts["fractions"]:
        problem = f"has {_voxels(facts['fractions'], 'not a whole number', 'not whole numbers')} (such as {facts['fraction_example']:.9g})"
        fix = "write the label map again with nearest-neighbour interpolation, as whole numbers"
        found.append(of_label(case, "error", "fraction", problem, fix))
    known = {value for values in label_block.values(labels) for value in values} | set(meaning)
    strange = {int(value): number for value, number in facts["counts"].items() if int(value) not in known}
    if strange:
        shown = ", ".join(f"{value} ({counted(number, 'voxel')})" for value, number in list(strange.items())[:8])
        problem = f"holds values that are not in labels: {shown}{', ...' if len(strange) > 8 else ''}"
        found.append(of_label(case, "error", "values", problem, _fix_values(sorted(strange), labels)))
    if set(map(int, facts["counts"])) <= {0} and not facts["fractions"]:
        found.append(of_label(case, "warning", "empty", "is empty, all background", "label the case, or take it out"))
    return found


def _fix_values(strange: list[int], labels: label_block.Labels) -> str:
    if any(not 0 <= value <= 255 for value in strange):
        return "write the label map again with values from 0 to 255"
    background = label_block.values(labels)[0] + strange
    return f'name them in labels, or count them as background: "background": {json.dumps(background)}'


def _same_grid(case: Case, image: Mapping, label: Mapping) -> list[Problem]:
    """An error unless the label's voxels are those of the image, in whatever order and direction its axes are stored."""
    grid, other = [(tuple(facts["shape"]), np.array(facts["affine"])) for facts in (label, image)]
    if grids.axes_onto(*grid, *other) is not None:
        return []
    fix = "resample the label onto the image's grid (nearest neighbour)"
    if image["shape"] != label["shape"]:
        sizes = ["x".join(map(str, shape)) for shape, _ in (grid, other)]
        problem = f"its grid is {sizes[0]}, that of {case.image} is {sizes[1]}"
        return [of_label(case, "error", "grid", problem, fix)]
    gap = grids.corner_gap(grid[1], other[1], other[0])
    if gap <= GRID_TOLERANCE * min(spacing(image)):
        return []
    problem = f"it has the size of {case.image}, but another affine: the corners are up to {gap:.2f} mm apart"
    fix += ", by the affines of both; if only the label's header is wrong, write the label again from its source"
    return [of_label(case, "error", "grid", problem, fix)]


def _flipped(case: Case, facts: Mapping) -> list[Problem]:
    """A warning where the label fits its image far better under a flip of its array."""
    scores = dict(zip(FLIPS, facts.get("fit", []), strict=False))
    if not scores:
        return []
    best = max(scores, key=scores.__getitem__)
    if scores[best] - scores[()] < FLIP_GAIN or scores[best] < FLIP_TIMES * scores[()]:
        return []
    axes = " and ".join("xyz"[axis] for axis in best)
    shares = f"{100 * scores[best]:.0f} % of the variance explained, against {100 * scores[()]:.0f} %"
    problem = f"it fits its image far better when it is flipped along {axes} ({shares})"
    fix = "look at both in a viewer; where the label is wrong, flip its array and keep the image's affine"
    return [of_label(case, "warning", "flipped", problem, fix)]


def _voxels(number: int, one: str, several: str) -> str:
    return counted(number, f"voxel that is {one}", f"voxels that are {several}")


def _mm(edges: np.ndarray) -> str:
    return "x".join(f"{edge:.3g}" for edge in edges) + " mm"
