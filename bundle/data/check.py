"""Mistakes in a data set, found before any training starts: all of them at once, each with file, value and fix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bundle import labels as label_block
from bundle.data import rules
from bundle.data.datalist import Case, Listing, find_cases, raise_all, sections
from bundle.data.facts import FactCache, image_facts, label_facts, stamp
from bundle.errors import UserError

SHOWN = 5  # warnings of one kind that are printed


@dataclass
class Measured:
    """A data set with the facts of its files: by case name, the labels' only where there is a label."""

    listing: Listing
    images: dict[str, dict]
    labels: dict[str, dict]


def check_before_training(
    dataset_dir: str,
    labels: label_block.Labels,
    *,
    datalist_file: str | None = None,
    fold: int = 0,
    num_folds: int = 5,
    seed: int = 0,
    with_test: bool = False,
    train_size: int | None = None,
    test_size: int | None = None,
    cache_dir: str | None = None,
    num_workers: int | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Raise one `UserError` that lists every problem of the data set; print warnings; give the number of cases per section.

    Every labelled image and label is read to its end (about 0.3 s for 512x512x100), so that nothing fails hours later.

    Args:
        dataset_dir, datalist_file, fold, num_folds, seed, with_test, train_size, test_size: as in `bundle.data.datalist`.
        labels: the `labels` block of the config.
        cache_dir: folder for `check.json`, which keeps what was measured: a second start then reads no voxel. None keeps nothing.
        num_workers: threads; None takes one a core.
        progress: show a bar where the check takes longer than two seconds.
    """
    label_block.check(labels)
    listing = find_cases(dataset_dir, datalist_file)
    listing.cases = listing.labelled
    problems = list(listing.problems)
    parts: dict[str, list[Case]] = {}
    try:
        split = {"with_test": with_test, "train_size": train_size, "test_size": test_size}
        parts = sections(listing, fold=fold, num_folds=num_folds, seed=seed, **split)
        problems += [] if parts["training"] else [UserError(listing.source, "no case is left for training", "add labelled cases")]
    except UserError as error:
        problems.append(error)
    measured = measure(listing, cache_dir=cache_dir, num_workers=num_workers, progress=progress)
    found = findings(measured, labels, parts)
    print_findings([finding for finding in found if finding.level == "warning"])
    raise_all(problems + [finding.error() for finding in found if finding.level == "error"])
    return {name: len(cases) for name, cases in parts.items()}


def measure(listing: Listing, *, cache_dir: str | None = None, num_workers: int | None = None, progress: bool = True) -> Measured:
    """Facts of every file of a data set, from the cache where the file is unchanged, measured in parallel otherwise."""
    cache = FactCache(os.path.join(cache_dir, "check.json") if cache_dir else None)
    jobs = [("image", case.name, case.image) for case in listing.cases]
    jobs += [("label", case.name, case.label) for case in listing.cases if case.label]
    facts = {job: cache.get(job[0], job[2]) for job in jobs}
    missing = [job for job in jobs if facts[job] is None]
    if missing:
        from tqdm import tqdm

        with ThreadPoolExecutor(num_workers or os.cpu_count()) as pool:  # zlib and numpy let go of the interpreter's lock
            results = tqdm(pool.map(_measured, missing), "checking", len(missing), disable=not progress, delay=2)
            for job, (before, result) in zip(missing, results, strict=True):
                facts[job] = result
                cache.put(job[0], job[2], before, result)
        cache.save()
    images, labels = ({name: facts[kind, name, file] for kind, name, file in jobs if kind == wanted} for wanted in ("image", "label"))
    return Measured(listing, images, labels)


def findings(measured: Measured, labels: label_block.Labels, parts: Mapping[str, list[Case]]) -> list[rules.Finding]:
    """What is wrong with a data set: case by case, then what shows only in all cases together."""
    found = []
    for case in measured.listing.cases:
        image, label = measured.images[case.name], measured.labels.get(case.name)
        found += rules.case_findings(case, image, label, labels, measured.listing.value_names)
    section_of = {case.name: name for name, cases in parts.items() for case in cases}
    if parts.get("validation") == parts.get("test"):  # one fold: validation watches the test set
        section_of = {name: section for name, section in section_of.items() if section != "validation"}
    found += rules.duplicate_findings(measured.listing.cases, measured.images, section_of)
    listing = measured.listing
    return found + rules.label_findings(listing.source, listing.cases, measured.labels, labels, listing.value_names)


def print_findings(found: Sequence[rules.Finding], rest: str = "python -m bundle check lists them all") -> None:
    """A line a finding; of warnings of one kind the first few, and how many more there are."""
    shown: Counter[str] = Counter()
    for finding in found:
        shown[finding.code] += finding.level == "warning"
        if shown[finding.code] <= SHOWN:
            print(f"{finding.level}: {finding.error()}")
    for code, number in shown.items():
        if number > SHOWN:
            print(f"warning: {number - SHOWN} more of the kind '{code}' ({rest})")


def _measured(job: tuple[str, str, str]) -> tuple[list[int] | None, dict]:
    """Facts of one file, and its stamp from before they were taken: a file written meanwhile is measured again next time."""
    kind, _, file = job
    before = stamp(file)
    return before, image_facts(file) if kind == "image" else label_facts(file)
