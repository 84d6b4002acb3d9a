"""Mistakes in a data set, found before any training starts: all of them at once, each with file, value and fix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bundle import labels as label_block
from bundle.data.checks import rules
from bundle.data.checks.fact_cache import FactCache, stamp
from bundle.data.checks.facts import case_facts
from bundle.data.datalist import Case, Listing, find_cases, raise_all, sections
from bundle.data.splits import Split
from bundle.errors import UserError
from bundle.limits import cpu_limit

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
    cache_dir: str | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    **keys: Any,
) -> dict[str, int]:
    """Raise one `UserError` that lists every problem of the data set; print warnings; give the number of cases per section.

    Every labelled image and label is read to its end (about 0.3 s for 512x512x100), so that nothing fails hours later.

    Args:
        dataset_dir, datalist_file, keys: as in `bundle.data.datalist.datalist`.
        labels: the `labels` block of the config.
        cache_dir: folder for `check.json`, which keeps what was measured: a second start then reads no voxel. None keeps nothing.
        num_workers: threads; None takes one a core.
        progress: print warnings, and show a bar where the check takes longer than two seconds.
    """
    label_block.check(labels)
    listing = find_cases(dataset_dir, datalist_file)
    listing.cases = listing.labelled
    problems = list(listing.problems)
    parts: dict[str, list[Case]] = {}
    try:
        parts = sections(listing, Split.of(keys))
        problems += [] if parts["training"] else [UserError(listing.source, "no case is left for training", "add labelled cases")]
    except UserError as error:
        problems.append(error)
    measured = measure(listing, cache_dir=cache_dir, num_workers=num_workers, progress=progress)
    found = problems_of(measured, labels, parts)
    if progress:
        print_problems([one for one in found if one.level == "warning"])
    raise_all(problems + [one.error() for one in found if one.level == "error"])
    return {name: len(cases) for name, cases in parts.items()}


def measure(listing: Listing, *, cache_dir: str | None = None, num_workers: int | None = None, progress: bool = True) -> Measured:
    """Facts of every file of a data set, from the cache where the file is unchanged, measured in parallel otherwise."""
    cache = FactCache(os.path.join(cache_dir, "check.json") if cache_dir else None)
    images, labels, missing = {}, {}, []
    for case in listing.cases:
        image, label = cache.get("image", case.image), cache.get("label", case.label) if case.label else None
        if image is None or (case.label and label is None):
            missing.append(case)
        else:
            images[case.name], labels[case.name] = image, label
    if missing:
        from tqdm import tqdm

        with ThreadPoolExecutor(num_workers or cpu_limit()) as pool:  # zlib and numpy let go of the interpreter's lock
            results = tqdm(pool.map(_measured, missing), "checking", len(missing), disable=not progress, delay=2)
            for case, (stamps, facts) in zip(missing, results, strict=True):
                images[case.name], labels[case.name] = facts
                cache.put("image", case.image, stamps[0], facts[0])
                if case.label:
                    cache.put("label", case.label, stamps[1], facts[1])
        cache.save()
    return Measured(listing, images, {name: facts for name, facts in labels.items() if facts is not None})


def problems_of(measured: Measured, labels: label_block.Labels, parts: Mapping[str, list[Case]]) -> list[rules.Problem]:
    """What is wrong with a data set: case by case, then what shows only in all cases together."""
    found = []
    for case in measured.listing.cases:
        image, label = measured.images[case.name], measured.labels.get(case.name)
        found += rules.case_problems(case, image, label, labels, measured.listing.value_names)
    section_of = {case.name: name for name, cases in parts.items() for case in cases}
    if parts.get("validation") == parts.get("test"):  # one fold: validation watches the test set
        section_of = {name: section for name, section in section_of.items() if section != "validation"}
    found += rules.duplicate_problems(measured.listing.cases, measured.images, section_of)
    listing = measured.listing
    return found + rules.label_problems(listing.source, listing.cases, measured.labels, labels, listing.value_names)


def print_problems(found: Sequence[rules.Problem], rest: str = "python -m bundle check lists them all") -> None:
    """One line per problem; of warnings of one kind the first few, and how many more there are."""
    shown: Counter[str] = Counter()
    for one in found:
        shown[one.code] += one.level == "warning"
        if shown[one.code] <= SHOWN:
            print(f"{one.level}: {one.error()}")
    for code, number in shown.items():
        if number > SHOWN:
            print(f"warning: {number - SHOWN} more of the kind '{code}' ({rest})")


def _measured(case: Case) -> tuple[list[list[int] | None], tuple[dict, dict | None]]:
    """Facts of a case, and its files' stamps from before they were taken: what is written meanwhile is measured again next time."""
    stamps = [stamp(case.image), stamp(case.label) if case.label else None]
    return stamps, case_facts(case.image, case.label)
