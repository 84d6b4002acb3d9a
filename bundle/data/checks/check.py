"""Mistakes in a data set, found before any training starts: all of them at once, each with file, value and fix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bundle import labels as label_block
from bundle.channels import Block, Channel, further
from bundle.data.checks import rules, set_rules
from bundle.data.checks.channel_rules import channel_problems
from bundle.data.checks.fact_cache import FactCache, stamp
from bundle.data.checks.facts import case_facts, channel_facts
from bundle.data.datalist import Case, Listing, find_cases, raise_all, sections
from bundle.data.splits import Split
from bundle.errors import UserError
from bundle.limits import cpu_limit

SHOWN = 5  # warnings of one kind that are printed


@dataclass
class Measured:
    """A data set with the facts of its files: by case name, the labels' only where there is a label; of further channels by theirs."""

    listing: Listing
    images: dict[str, dict]
    labels: dict[str, dict]
    channels: dict[str, dict[str, dict]] = field(default_factory=dict)


def check_before_training(
    dataset_dir: str,
    labels: label_block.Labels,
    *,
    datalist_file: str | None = None,
    channels: Block = None,
    cache_dir: str | None = None,
    num_workers: int | None = None,
    progress: bool = True,
    may_be: Mapping[str | int, Sequence[str]] | None = None,
    **keys: Any,
) -> dict[str, int]:
    """Raise one `UserError` that lists every problem of the data set; print warnings; give the number of cases per section.

    Every labelled image and label is read to its end (about 0.3 s for 512x512x100), so that nothing fails hours later.

    Args:
        dataset_dir, datalist_file, channels, keys: as in `bundle.data.datalist.datalist`.
        labels: the `labels` block of the config.
        cache_dir: folder for `check.json`, which keeps what was measured: a second start then reads no voxel. None keeps nothing.
        num_workers: threads; None takes one a core.
        may_be: values that leave open what a voxel is, which label maps may have beside those of `labels`.
        progress: print warnings, and show a bar where the check takes longer than two seconds.
    """
    label_block.check(labels)
    listing = find_cases(dataset_dir, datalist_file, channels)
    listing.cases = listing.labelled
    problems = list(listing.problems)
    parts: dict[str, list[Case]] = {}
    try:
        parts = sections(listing, Split.of(keys))
        problems += [] if parts["training"] else [UserError(listing.source, "no case is left for training", "add labelled cases")]
    except UserError as error:
        problems.append(error)
    measured = measure(listing, cache_dir=cache_dir, num_workers=num_workers, progress=progress, channels=channels)
    found = problems_of(measured, labels, parts, channels, may_be)
    if progress:
        print_problems([one for one in found if one.level == "warning"])
    raise_all(problems + [one.error() for one in found if one.level == "error"])
    return {name: len(cases) for name, cases in parts.items()}


def measure(
    listing: Listing, *, cache_dir: str | None = None, num_workers: int | None = None, progress: bool = True, channels: Block = None
) -> Measured:
    """Facts of every file of a data set, from the cache where the file is unchanged, measured in parallel otherwise."""
    cache = FactCache(os.path.join(cache_dir, "check.json") if cache_dir else None)
    images, labels, missing = {}, {}, []
    others = further(channels)
    of_image = f"image of {len(others) + 1}" if others else "image"
    for case in listing.cases:
        image, label = cache.get(of_image, case.image), cache.get("label", case.label) if case.label else None
        if image is None or (case.label and label is None):
            missing.append(case)
        else:
            images[case.name], labels[case.name] = image, label
    if missing:
        from tqdm import tqdm

        with ThreadPoolExecutor(num_workers or cpu_limit()) as pool:  # zlib and numpy let go of the interpreter's lock
            work = pool.map(_measured, missing, [len(others) + 1] * len(missing))
            results = tqdm(work, "checking", len(missing), disable=not progress, delay=2)
            for case, (stamps, facts) in zip(missing, results, strict=True):
                images[case.name], labels[case.name] = facts
                cache.put(of_image, case.image, stamps[0], facts[0])
                if case.label:
                    cache.put("label", case.label, stamps[1], facts[1])
        cache.save()
    found = _channels(listing.cases, images, others, cache, num_workers)
    return Measured(listing, images, {name: facts for name, facts in labels.items() if facts is not None}, found)


def _channels(
    cases: Sequence[Case], images: Mapping[str, dict], others: Sequence[Channel], cache: FactCache, num_workers: int | None
) -> dict[str, dict[str, dict]]:
    """Facts of the further channels of each case, by name; of those that are not there none."""
    jobs = []
    for case in cases if others else ():
        files = dict(case.further)
        for number, channel in enumerate(others, start=1):
            if channel.name in files:
                jobs.append((case.name, channel, files[channel.name], (0, 1)))
            elif images[case.name].get("volumes"):
                jobs.append((case.name, channel, case.image, (number, len(others) + 1)))

    def facts_of(job: tuple[str, Channel, str, tuple[int, int]]) -> tuple[str, str, dict]:
        name, channel, path, volume = job
        kind = f"{channel.kind} {volume[0]} of {volume[1]}"
        facts = cache.get(kind, path)
        if facts is None:
            before = stamp(path)
            facts = channel_facts(path, channel.kind, volume)
            cache.put(kind, path, before, facts)
        return name, channel.name, facts

    found: dict[str, dict[str, dict]] = {}
    with ThreadPoolExecutor(num_workers or cpu_limit()) as pool:
        for name, channel_name, facts in pool.map(facts_of, jobs):
            found.setdefault(name, {})[channel_name] = facts
    cache.save()
    return found


def problems_of(
    measured: Measured,
    labels: label_block.Labels,
    parts: Mapping[str, list[Case]],
    channels: Block = None,
    may_be: Mapping[str | int, Sequence[str]] | None = None,
) -> list[rules.Problem]:
    """What is wrong with a data set: case by case, then what shows only in all cases together."""
    found = []
    left_open = {int(value): "left open" for value in may_be or {}}
    meaning = {value: word for value, word in measured.listing.value_names.items() if value not in left_open}
    for case in measured.listing.cases:
        image, label = measured.images[case.name], measured.labels.get(case.name)
        found += rules.case_problems(case, image, label, labels, meaning | left_open)
        found += channel_problems(case, image, measured.channels.get(case.name, {}), further(channels))
    section_of = {case.name: name for name, cases in parts.items() for case in cases}
    if parts.get("validation") == parts.get("test"):  # one fold: validation watches the test set
        section_of = {name: section for name, section in section_of.items() if section != "validation"}
    listing = measured.listing
    found += set_rules.duplicate_problems(listing.cases, measured.images, section_of)
    found += set_rules.shared_label_problems(listing.cases)
    found += set_rules.left_out_problems(listing.source, listing.cases)
    return found + set_rules.label_problems(listing.source, listing.cases, measured.labels, labels, meaning)


def print_problems(found: Sequence[rules.Problem], rest: str | None = "python -m bundle check lists them all") -> None:
    """One line per problem; of warnings of one kind the first few, and how many more there are.

    Args:
        found: the problems.
        rest: where the other warnings are; None: nowhere, so all are said here.
    """
    shown: Counter[str] = Counter()
    for one in found:
        shown[one.code] += one.level == "warning"
        if rest is None or shown[one.code] <= SHOWN:
            print(f"{one.level}: {one.error()}")
    for code, number in shown.items():
        if rest is not None and number > SHOWN:
            print(f"warning: {number - SHOWN} more of the kind '{code}' ({rest})")


def _measured(case: Case, channels: int) -> tuple[list[list[int] | None], tuple[dict, dict | None]]:
    """Facts of a case, and its files' stamps from before they were taken: what is written meanwhile is measured again next time."""
    stamps = [stamp(case.image), stamp(case.label) if case.label else None]
    return stamps, case_facts(case.image, case.label, channels)
