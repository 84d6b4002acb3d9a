"""Which images, which labels, which split: from the MSD folder layout, its `dataset.json`, or a MONAI datalist JSON.

`datalist` gives what configs need, a list of `{"image": path, "label": path}`; `find_cases` gives all that is there, with
what is wrong in it, for the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bundle.channels import Block
from bundle.data.splits import SECTIONS, Split, split
from bundle.errors import UserError
from bundle.files import named

ENDINGS = (".nii.gz", ".nii")
SHOWN = 100  # problems that one error lists


@dataclass(frozen=True)
class Case:
    """One scan: its name, image, label (None where it has none), section the list puts it in (None: by fold), fold key, group.

    `further` are its other channels, (name, file): none where there is one, or where they are in the file of the image.
    `labelled` are the structures that its label map has, where it leaves others out; None: all.
    """

    name: str
    image: str
    label: str | None = None
    section: str | None = None
    fold: int | None = None
    group: str | None = None
    further: tuple[tuple[str, str], ...] = ()
    labelled: tuple[str, ...] | None = None

    def item(self) -> dict[str, Any]:
        """The case as MONAI's dictionary transforms take it."""
        label = {"label": self.label} if self.label else {}
        further = {"channels": dict(self.further)} if self.further else {}
        labelled = {"labelled": list(self.labelled)} if self.labelled is not None and self.label else {}
        return {"image": self.image, **label, **further, **labelled}


@dataclass
class Listing:
    """What a data set lists: `source` (folder or JSON it came from), cases sorted by name, and problems met while listing."""

    source: str
    cases: list[Case] = field(default_factory=list)
    problems: list[UserError] = field(default_factory=list)
    value_names: dict[int, str] = field(default_factory=dict)  # what dataset.json says the label values mean

    @property
    def labelled(self) -> list[Case]:
        """Cases with a label."""
        return [case for case in self.cases if case.label]


def datalist(
    dataset_dir: str, section: str = "training", datalist_file: str | None = None, *, channels: Block = None, **keys: Any
) -> list[dict[str, Any]]:
    """The cases of one section as `[{"image": path, "label": path}, ...]`, absolute paths, sorted by case name.

    A case whose label map leaves structures out has the names of the others in `labelled`, for `bundle.transforms.MapLabelsd`.

    Args:
        dataset_dir: folder in MSD layout (`imagesTr`, `labelsTr`, `imagesTs`, maybe `labelsTs`, maybe `dataset.json`).
        section: `training`, `validation` or `test` (with labels), `all` (every case with a label), or `unlabelled` (without).
        datalist_file: a MONAI datalist JSON (sections `training`, `validation`, `test`, or `fold` keys; cases with the same
            `group` stay together); relative paths in it start at `dataset_dir`, or at the JSON's own folder. None or "" reads
            `dataset.json` in `dataset_dir`, or the folders.
        channels: the `channels` block. Of several, an entry has the further ones in `channels`, name to path: of nnU-Net's files
            `a_0000.nii.gz`, `a_0001.nii.gz`, or of a list under `image`; nothing where they are the fourth axis of one file.
        keys: what makes a `bundle.data.splits.Split`: fold, num_folds, seed, with_test, train_size, test_size. A section
            that the JSON itself lists is taken as it is.

    Raises:
        UserError: no such folder, images without labels, sizes that do not fit; all listing problems in one error.
    """
    if section not in (*SECTIONS, "all", "unlabelled"):
        raise UserError("section", f"'{section}' is not a section", f"use one of {', '.join(SECTIONS)}, all, unlabelled")
    wanted = Split.of(keys)
    listing = find_cases(dataset_dir, datalist_file, channels)
    if section == "unlabelled":
        return [case.item() for case in listing.cases if not case.label]
    raise_all(listing.problems)
    if section == "all":
        return [case.item() for case in listing.labelled]
    return [case.item() for case in sections(listing, wanted)[section]]


def find_cases(dataset_dir: str, datalist_file: str | None = None, channels: Block = None) -> Listing:
    """All cases of a data set, and the problems of its listing; raises `UserError` only where there is nothing to list."""
    from bundle.channels import channels_of
    from bundle.data import list_file, listing
    from bundle.json_input import read_object

    wanted = channels_of(channels)
    if isinstance(datalist_file, list):
        problem = f"a list of {len(datalist_file)} is no file"
        raise UserError("datalist", problem, "give a MONAI datalist JSON, or the list as the data of a dataset of MONAI's")
    if datalist_file:
        return list_file.from_json(named(datalist_file), named(dataset_dir) if dataset_dir else None, wanted)
    folder = named(dataset_dir)
    if not folder.is_dir():
        raise UserError(dataset_dir, "no such folder", "give the folder that holds imagesTr and labelsTr")
    about = folder / "dataset.json"
    if about.is_file() and list_file.has_list(read_object(about, list_file.EXAMPLE)):
        return list_file.from_json(about, folder, wanted)
    return listing.from_folders(folder, wanted)


def sections(listing: Listing, wanted: Split | None = None) -> dict[str, list[Case]]:
    """The labelled cases of each section: as the list says where it says so, by `splits.split` for the others."""
    wanted = wanted or Split()
    fold = wanted.fold
    labelled = {case.name: case for case in listing.labelled}
    fixed = {name: [case for case in labelled.values() if case.section == name] for name in SECTIONS}
    free = [case for case in labelled.values() if case.section is None]
    if any(case.fold is not None for case in free):
        fixed["training"] += [case for case in free if case.fold != fold]
        fixed["validation"] += [case for case in free if case.fold == fold]
        _check_fold_keys(listing.source, free, fixed, fold)
        return fixed
    if fixed["validation"] or not free:
        fixed["training"] += free
        return fixed
    if fixed["test"] and not wanted.test_size:
        wanted = replace(wanted, with_test=False)  # the list brings a test set of its own
    groups = {case.name: case.group for case in free if case.group}
    names = [case.name for case in free]
    for name, cases in split(names, wanted, groups).items():
        fixed[name] = sorted(fixed[name] + [labelled[case] for case in cases], key=_by_name)
    return fixed


def raise_all(problems: Sequence[UserError], subject: str = "data set", rest: str | None = "python -m bundle check lists them all") -> None:
    """Raise one `UserError` that lists the problems, or none where there is none.

    Args:
        problems: what was found.
        subject: what it was found in.
        rest: where those are that are too many to be listed; None: nothing is said of them but in the number of all.
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n  {number}. {problem}" for number, problem in enumerate(problems[:SHOWN], start=1))
        more = f"\n  and {len(problems) - SHOWN} more: {rest}" if rest and len(problems) > SHOWN else ""
        raise UserError(subject, f"{len(problems)} problems were found{lines}{more}".removesuffix("."))


def _check_fold_keys(source: str, free: list[Case], fixed: dict[str, list[Case]], fold: int) -> None:
    if not fixed["validation"] or not fixed["training"]:
        there = sorted({case.fold for case in free if case.fold is not None})
        raise UserError("fold", f"fold {fold} is asked for, but {source} has the folds {there}", f"use one of {there}")


def _by_name(case: Case) -> str:
    return case.name
