"""The verb `check`: a doctor for a data set before training, with one line per problem, a summary and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bundle import labels as label_block
from bundle.arguments.kinds import SPACING_MM, Wrong, left_open, number
from bundle.arguments.values import THREE_SIZES
from bundle.channels import Block, resolve
from bundle.data.checks import rules
from bundle.data.checks.check import Measured, measure, print_problems, problems_of
from bundle.data.datalist import Case, find_cases, sections
from bundle.data.listed_files import stem
from bundle.data.listing import nifti_files
from bundle.data.splits import Split
from bundle.errors import UserError, counted, reason

OUTLIER = 5.0  # robust standard deviations of the logarithm of a volume


def check(
    dataset_dir: str,
    *,
    labels: Mapping | str | None = None,
    datalist: str | None = None,
    channels: Block | str = None,
    may_be: Mapping[str, Sequence[str]] | None = None,
    output_dir: str | None = None,
    patch_size: Sequence[int] = (160, 160, 96),
    spacing: float = 2.0,
    fold: int = 0,
    num_folds: int = 5,
    seed: int = 0,
    num_workers: int | None = None,
) -> int:
    """Look at every file of a data set; print one line per problem (file, problem, fix); write a summary and a picture.

    Args:
        dataset_dir: folder in MSD layout.
        labels: the `labels` block, or a JSON file that holds one; by default `labels.json` in the data set, else that of
            `configs/train.json`.
        datalist: a MONAI datalist JSON instead of the folders.
        channels: the `channels` block, or a JSON file that has one, where a case has several images (docs/channels.md).
        may_be: values that leave open what a voxel is, as a training takes them: `{"255": ["pancreas"]}`.
        output_dir: where `findings.csv`, `cases.csv`, `summary.json`, `distribution.png` and the cache go; by default
            `runs/check/NAME` in the working directory.
        patch_size: training patch in voxels (x, y, z); scans smaller than it are reported.
        spacing: voxel edge in mm that training resamples to.
        fold: which fold validates; the split is looked at to find a scan that is in two parts of it.
        num_folds: folds of that split.
        seed: of that split, the key `split_seed` of a training.
        num_workers: threads; by default one a core.

    Returns:
        0, or 1 where there is an error (warnings are not errors).

    Raises:
        UserError: no such data set, or arguments that do not fit.
    """
    from bundle.data.checks.check_report import FINDINGS, write_findings, write_report

    try:
        open_values = left_open(may_be)
    except Wrong as wrong:
        raise UserError("may_be", f"its value is {may_be!r}", f"give {wrong}") from None
    split = Split(fold=fold, num_folds=num_folds, seed=seed)
    patch_mm = _patch_mm(patch_size, spacing)
    block, origin, _ = label_block.resolve(labels, [dataset_dir] if dataset_dir else [], files=("labels.json",), config="train.json")
    for structures in (open_values or {}).values():
        label_block.left_open(structures, label_block.names(block), "may_be")
    channels = resolve(channels)
    listing = find_cases(dataset_dir, datalist, channels)
    output = Path(output_dir or Path("runs") / "check" / Path(dataset_dir or datalist or "").resolve().name)
    measured = measure(listing, cache_dir=str(output), num_workers=num_workers, channels=channels)
    found = [_as_problem(problem) for problem in listing.problems]
    parts: dict[str, list[Case]] = {}
    try:
        parts = sections(listing, split)
    except UserError as error:
        found.append(_as_problem(error))
    found += problems_of(measured, block, parts, channels, open_values)
    found += _unlisted(measured)
    found += _warnings(measured, block, patch_mm)
    found.sort(key=lambda one: (one.level, one.case))
    rest: str | None = f"see {FINDINGS}"
    try:
        write_findings(found, output)
    except OSError:  # what `write_report` says below
        rest = None
    print_problems(found, rest)
    try:
        write_report(measured, found, block, output)
    except OSError as error:  # what was found has been said
        print(f"warning: no report is written ({reason(error)}). Fix: name a folder that can be written to with --output_dir.")
    _advise(measured, block, origin, found)
    return int(any(one.level == "error" for one in found))


def _patch_mm(patch_size: object, spacing: object) -> list[float]:
    """Edges of the training patch in mm."""
    sizes = list(patch_size) if isinstance(patch_size, Sequence) and not isinstance(patch_size, str) else []
    least, most = SPACING_MM
    try:
        sizes, edge = THREE_SIZES(sizes), number(least=least, most=most)(spacing)
    except Wrong:
        fix = "give three whole numbers of voxels, such as --patch_size 160,160,96, and one spacing "
        fix += f"from {least:g} to {most:g} mm, such as --spacing 2.0"
        raise UserError("patch_size, spacing", f"their values are {patch_size!r} and {spacing!r}", fix) from None
    return [size * edge for size in sizes]


def _as_problem(problem: UserError) -> rules.Problem:
    return rules.Problem("error", "listing", "", problem.where, problem.problem, problem.fix)


def _unlisted(measured: Measured) -> list[rules.Problem]:
    """Images that are in the folders but that `dataset.json` does not list."""
    source = Path(measured.listing.source)
    if source.name != "dataset.json":
        return []
    known = {stem(case.image).removesuffix("_0000") for case in measured.listing.cases}
    known |= {stem(path) for case in measured.listing.cases for _, path in case.further}
    beside = [path for part in ("imagesTr", "imagesTs") for path in nifti_files(source.parent / part)]
    forgotten = [path for path in beside if stem(path).removesuffix("_0000") not in known]
    if not forgotten:
        return []
    names = ", ".join(path.name for path in forgotten[:5])
    problem = f"does not list {counted(len(forgotten), 'image')} in its folders ({names}{', ...' if len(forgotten) > 5 else ''})"
    fix = "list them, or remove dataset.json: then all files in the folders are used"
    return [rules.Problem("warning", "unlisted", "", str(source), problem, fix)]


def _warnings(measured: Measured, labels: label_block.Labels, patch_mm: Sequence[float]) -> list[rules.Problem]:
    """What a person should know beyond mistakes: absent structures, volumes out of the ordinary, scans smaller than the patch."""
    found = []
    seen = {value for facts in measured.labels.values() for value in facts.get("counts", {})}
    block = zip(label_block.names(labels), label_block.values(labels), strict=True)
    somewhere = {name: values for name, values in block if name == "background" or seen & set(map(str, values))}
    for case in measured.listing.cases:
        found += rules.patch_problems(case, measured.images[case.name], patch_mm)
        if case.label and len(somewhere) > 1:
            found += rules.missing_problems(case, measured.labels[case.name], somewhere)
    for name in label_block.names(labels)[1:]:
        found += _outliers(
            name, {case: rules.volumes_ml(measured.labels[case.name], labels).get(name) for case in measured.listing.labelled}
        )
    return found


def _outliers(name: str, volumes: Mapping[Case, float | None]) -> list[rules.Problem]:
    there = {case: volume for case, volume in volumes.items() if volume}
    if len(there) < 8:
        return []
    logs = np.log(list(there.values()))
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), 0.05)
    found = []
    for case, log in zip(there, logs, strict=True):
        if abs(log - middle) > OUTLIER * spread:
            problem = f"its {name} measures {there[case]:.1f} ml, the median is {np.exp(middle):.1f} ml"
            found.append(rules.of_label(case, "warning", "volume", problem, "check that the label is complete and is the right structure"))
    return found


def _advise(measured: Measured, labels: label_block.Labels, origin: str, found: Sequence[rules.Problem]) -> None:
    """The labels block that the data set itself would have, where the one checked against does not fit."""
    print(f"labels checked against (from {origin}): {json.dumps(dict(labels))}")
    meaning = measured.listing.value_names
    if meaning and any(one.code in ("values", "names", "absent") for one in found):
        block: dict[str, list[int]] = {"background": [0]}
        for value, name in sorted(meaning.items()):
            if value:
                block.setdefault(name, []).append(value)
        plain = {name: values[0] if len(values) == 1 else values for name, values in block.items()}
        print(f'as dataset.json has them: "labels": {json.dumps(plain)}')
