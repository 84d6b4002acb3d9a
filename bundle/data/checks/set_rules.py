"""What shows only in all cases of a data set together: the same scan or label map twice, names of structures that contradict each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle import labels as label_block
from bundle.data.checks.rules import Problem, of_label
from bundle.data.datalist import ENDINGS, Case
from bundle.data.listed_files import stem
from bundle.errors import counted
from bundle.images.names import VOLUME_ENDINGS, ending
from bundle.images.names import stem as volume_stem


def duplicate_problems(cases: list[Case], images: Mapping[str, Mapping], sections: Mapping[str, str]) -> list[Problem]:
    """The same image more than once, also stored flipped or under another name; an error where it crosses the splits."""
    first: dict[str, Case] = {}
    found = []
    for case in cases:
        facts = images[case.name]
        if not facts.get("fingerprint") or facts["minimum"] == facts["maximum"]:
            continue
        other = first.setdefault(facts["fingerprint"], case)
        if other is case:
            continue
        parts = {sections[one.name] for one in (other, case) if one.name in sections}
        where = f", and they are in different splits ({', '.join(sorted(parts))})" if len(parts) > 1 else ""
        fix = (
            "keep one of the two: a scan in two splits makes the scores of the second worthless"
            if where
            else "keep one of the two: other folds would separate them"
        )
        level = "error" if where else "warning"
        found.append(Problem(level, "duplicate", case.name, case.image, f"holds the same scan as {other.image}{where}", fix))
    return found


def shared_label_problems(cases: Sequence[Case]) -> list[Problem]:
    """A label map that is listed for several images."""
    first: dict[str, Case] = {}
    found = []
    for case in cases:
        other = first.setdefault(case.label, case) if case.label else case
        if other is not case:
            fix = "correct the list; ignore where both show the same body in the same place, as two phases do"
            found.append(of_label(case, "warning", "shared label", f"is listed for {case.image} and for {other.image}", fix))
    return found


def left_out_problems(source: str, cases: Sequence[Case]) -> list[Problem]:
    """Images of a folder in MSD layout that only a list can name, as they are no NIfTI or in a folder below: nobody would miss them."""
    folder, known = Path(source) / "imagesTr", {stem(case.image) for case in cases}
    others = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        below = path.relative_to(folder)
        taken = len(below.parts) == 1 and path.name.lower().endswith(ENDINGS)
        hidden = any(part.startswith(".") for part in below.parts)
        if ending(path) in VOLUME_ENDINGS and not (taken or hidden or volume_stem(path) in known) and path.is_file():
            others.append(below.as_posix())
    if not others:
        return []
    problem = f"{counted(len(others), 'image is', 'images are')} left out ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''})"
    fix = "list them in a dataset.json, or put them there as .nii or .nii.gz"
    return [Problem("warning", "unlisted", "", str(folder), problem, fix)]


def label_problems(source: str, cases: list[Case], facts: Mapping[str, Mapping], labels: Mapping, meaning: Mapping) -> list[Problem]:
    """What the labels of all cases say together: structures nowhere to be found, and names that `dataset.json` gives otherwise."""
    found = []
    counts = [facts[case.name].get("counts", {}) for case in cases if case.label]
    listed = {value for values in label_block.values(labels) for value in values}
    left = {value: word for value, word in sorted(meaning.items()) if value not in listed and any(str(value) in count for count in counts)}
    if left:
        words = ", ".join(f"{word} ({value})" for value, word in left.items())
        problem = f"{words} {'is' if len(left) == 1 else 'are'} in the data set but not in labels, and will count as background"
        fix = "ignore if intended; otherwise add them to labels"
        if label_block.IGNORE in (word.lower() for word in left.values()):
            value = next(value for value, word in left.items() if word.lower() == label_block.IGNORE)
            fix += f", or leave these voxels open: --may_be '{{\"{value}\": {json.dumps(label_block.names(labels)[1:])}}}'"
        found.append(Problem("warning", "left out", "", source, problem, fix))
    for name, values in zip(label_block.names(labels), label_block.values(labels), strict=True):
        if counts and not any(str(value) in count for count in counts for value in values):
            problem = f"'{name}' (value {_values_in_words(values)}) is in no label map of the data set"
            found.append(Problem("warning", "absent", "", source, problem, "correct its value in labels, or take it out of labels"))
    for name, values in zip(label_block.names(labels), label_block.values(labels), strict=True):
        named = {value for value, word in meaning.items() if word.lower() == name.lower()}
        if named and not named & set(values):
            problem = (
                f"labels says that '{name}' is {_values_in_words(values)}, dataset.json says that it is {_values_in_words(sorted(named))}"
            )
            found.append(Problem("error", "names", "", source, problem, f'write "{name}": {_values_in_words(sorted(named))} in labels'))
            continue
        for value in values if name != "background" else ():
            if value in meaning and not named and not _one_within_the_other(name, meaning[value]):
                problem = f"labels calls the value {value} '{name}', dataset.json calls it '{meaning[value]}'"
                found.append(Problem("warning", "names", "", source, problem, "make sure that the two are the same structure"))
    return found


def _one_within_the_other(one: str, other: str) -> bool:
    """Whether one name is part of the other: kidney, kidney_left, right kidney."""
    words = [set(name.lower().replace("_", " ").replace("-", " ").split()) for name in (one, other)]
    return words[0] <= words[1] or words[1] <= words[0]


def _values_in_words(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else json.dumps(values)
