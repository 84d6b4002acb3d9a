"""Which scans, of which class, in which section: the list that a classifier learns from.

`dataset.json` in the folder of the data set, or a datalist of its own:

    {"classes": ["none", "arterial"],
     "training": [{"image": "images/a.nii.gz", "class": "none"}, ...], "validation": [...], "test": [...]}

`classes` gives their order and may be left out. Without `validation` the cases of `training` fall into folds, as those of a
segmentation do (`fold` and `group` of an entry count). A class is a text or a whole number; 2 and "2" are the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from torch.utils.data import RandomSampler, Sampler, WeightedRandomSampler

from bundle.data.datalist import Case, Listing, raise_all, sections
from bundle.data.list_file import Mistakes, belongs, places
from bundle.data.listed_files import Finder, stem
from bundle.data.splits import SECTIONS, Split
from bundle.errors import UserError, counted
from bundle.files import named
from bundle.json_input import kind, read_object

EXAMPLE = '{"training": [{"image": "images/a.nii.gz", "class": "portal"}]}'


@dataclass
class ClassListing:
    """What a list says: its file, the cases (each one's class as `label`), the order of the classes, and what is wrong."""

    source: str
    cases: list[Case] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    problems: list[UserError] = field(default_factory=list)


def read_class_list(dataset_dir: str | os.PathLike, datalist_file: str | None = None) -> ClassListing:
    """All cases of a list, and what is wrong with it: one error for each kind of mistake.

    Args:
        dataset_dir: paths of images start here, or at the list's own folder.
        datalist_file: the list; None or "" reads `dataset.json` in `dataset_dir`.

    Raises:
        UserError: there is no list, or it is no JSON object.
    """
    folder = named(dataset_dir)
    path = named(datalist_file) if datalist_file else folder / "dataset.json"
    if not path.is_file():
        raise UserError(path, "there is no such list", f"write {EXAMPLE}, or give --datalist FILE")
    content, mistakes = read_object(path, EXAMPLE), Mistakes(path)
    order = _order(content, mistakes)
    listing, finder = ClassListing(str(path)), Finder([folder, path.parent])
    first: dict[str, str] = {}
    for place, section, entry in places(content, mistakes, EXAMPLE):
        if section == "test" and (isinstance(entry, str) or (isinstance(entry, Mapping) and "class" not in entry)):
            continue  # MSD lists images without anything known about them there
        case = _case(place, entry, section, finder, order, mistakes)
        if case is None:
            continue
        if case.image in first:
            problem = f"lists the image {case.image} more than once ({first[case.image]}, {place})"
            mistakes.add("again", problem, "list each image once")
            continue
        first[case.image] = place
        listing.cases.append(case)
    for name, number in Counter(case.name for case in listing.cases).items():
        if number > 1:
            mistakes.add("name", f"the case {name} is listed {number} times", "give each case another name")
    listing.classes = order or sorted(
        {str(case.label) for case in listing.cases}, key=lambda name: (len(name), name) if name.isdecimal() else (0, name)
    )
    listing.problems = mistakes.errors()
    if not listing.cases and not listing.problems:
        listing.problems.append(UserError(path, "it lists no case with a class", f"write {EXAMPLE}"))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def class_names(dataset_dir: str, datalist_file: str | None = None, classes: Sequence[str | int] | None = None) -> list[str]:
    """The classes in the order of the network's outputs: those given, else those of the list.

    Raises:
        UserError: everything that is wrong with the list, a class in it that is none of `classes`, or fewer than two classes.
    """
    listing = read_class_list(dataset_dir, datalist_file)
    names = listing.classes if classes is None else [str(name) for name in classes]
    strange = sorted({str(case.label) for case in listing.cases} - set(names))
    if strange:
        problem = f"the class {strange[0]} is none of {', '.join(names)}"
        listing.problems.append(UserError(listing.source, problem, "correct the entries, or give it in --classes"))
    raise_all(listing.problems, "list of classes", rest=None)
    if len(names) < 2:
        raise UserError(listing.source, f"it has one class only ({', '.join(names)})", "list cases of two classes or more")
    return names


def class_cases(
    dataset_dir: str, section: str, datalist_file: str | None = None, *, names: Sequence[str], **split: Any
) -> list[dict[str, Any]]:
    """The cases of a section as `[{"image": path, "label": number of the class}, ...]`, sorted by name.

    Args:
        dataset_dir, datalist_file: as in `read_class_list`.
        section: `training`, `validation` or `test`.
        names: the classes; a case's number is its class's place among them.
        split: what makes a `bundle.data.splits.Split`.

    Raises:
        UserError: everything that is wrong with the list; a class without a case to train on.
    """
    listing = read_class_list(dataset_dir, datalist_file)
    raise_all(listing.problems, "list of classes", rest=None)
    parts = sections(Listing(listing.source, listing.cases), Split.of(split))
    if section == "training":
        _check_parts(listing.source, parts, names)
    return [{"image": case.image, "label": list(names).index(str(case.label))} for case in parts[section]]


def class_sampler(cases: Sequence[Mapping[str, Any]], balanced: bool = True) -> Sampler[int]:
    """In which order an epoch takes the cases, as many as there are: each class equally often on average, or each case once.

    Args:
        cases: entries with `label`, the number of the class.
        balanced: draw each case with a probability that is one over the number of cases of its class (torch's
            `WeightedRandomSampler`, with replacement).
    """
    if not balanced:
        return RandomSampler(cases)
    return WeightedRandomSampler(class_weights(cases), len(cases))


def class_weights(cases: Sequence[Mapping[str, Any]]) -> list[float]:
    """One over the number of cases of its class, for each case."""
    count = Counter(case["label"] for case in cases)
    return [1.0 / count[case["label"]] for case in cases]


def _order(content: Mapping[str, Any], mistakes: Mistakes) -> list[str]:
    """The classes that the list names in their order; none where it does not, or where they cannot be used."""
    listed = content.get("classes")
    if listed is None:
        return []
    names = [_class(value) for value in listed] if isinstance(listed, list) else []
    if not names or None in names or len(set(names)) < len(names):
        mistakes.add("classes", f'"classes" is {kind(listed)} that names no different classes', 'write "classes": ["none", "portal"]')
        return []
    return [str(name) for name in names]


def _class(value: Any) -> str | None:
    """A class as text; None where it is neither a text nor a whole number."""
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _case(place: str, entry: Any, section: str | None, finder: Finder, order: Sequence[str], mistakes: Mistakes) -> Case | None:
    """The case of an entry; None where something is wrong with it, which is noted."""
    if not isinstance(entry, Mapping):
        mistakes.add("entry", f"{place} is {kind(entry)}, not an image with its class", 'write {"image": "path", "class": "portal"}')
        return None
    wrong = False
    image, name = entry.get("image"), _class(entry.get("class"))
    path = finder.file(image) if isinstance(image, str) and image.strip() and "\0" not in image else None
    if path is None and isinstance(image, str) and image.strip():
        wrong = True
        problem = f'{place}.image is "{image[:200]}", but there is no such file'
        mistakes.add("no image", problem, f"put it into {finder.bases[0]}, or correct it")
    elif path is None:
        wrong = True
        mistakes.add("image", f"{place}.image {'is ' + kind(image) if 'image' in entry else 'is not there'}", "write the path of one scan")
    if name is None:
        wrong = True
        what = f"is {kind(entry['class'])}" if "class" in entry else "is not there"
        mistakes.add("class", f"{place}.class {what}", 'write its name, such as "portal", or a whole number')
    elif order and name not in order:
        wrong = True
        mistakes.add("other class", f'{place}.class is "{name}", none of {", ".join(order)}', 'correct it, or add it to "classes"')
    belonging = belongs(place, entry, mistakes)
    if wrong or path is None or belonging is None:
        return None
    fold, group, case = belonging
    return Case(case or (Path(str(image)).parent / stem(path)).as_posix(), path, name, section, fold, group)


def _check_parts(source: str, parts: Mapping[str, list[Case]], names: Sequence[str]) -> None:
    """Refuse a class that is never trained on; say how many cases there are, and which classes are not validated."""
    count = {section: Counter(str(case.label) for case in parts[section]) for section in SECTIONS}
    missing = [name for name in names if not count["training"][name]]
    if missing:
        fix = "add cases of it, or leave it out of the classes"
        raise UserError(source, f"no case of the class {', '.join(missing)} is left for training", fix)
    if idist.get_rank() != 0:
        return
    for section in SECTIONS:
        each = ", ".join(f"{name} {count[section][name]}" for name in names)
        print(f"{source}: {counted(len(parts[section]), 'case')} for {section}" + (f" ({each})" if parts[section] else ""), flush=True)
    unseen = [name for name in names if parts["validation"] and not count["validation"][name]]
    if unseen:
        print(f"warning: {source}: no case of {', '.join(unseen)} is for validation: it counts as F1 = 0 in the mean", flush=True)
