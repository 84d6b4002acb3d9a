"""What an experiment is, before anything of it runs: its configuration, its folds, and the cases that each is scored on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle.arguments.config_files import Names, as_list
from bundle.data.datalist import find_cases, raise_all, sections
from bundle.data.scans import listed_scans
from bundle.data.splits import Split
from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.json_input import read_object
from bundle.results import identity

# what a trained network and its inference must agree on: taken from the training configuration, given to inference
SHARED = ("labels", "channels", "network_def", "spacing", "hu_range")


def split_keys(split: Split) -> dict[str, Any]:
    """The split as the top-level keys of `train.json` and `evaluate.json`: the same for training and for scoring."""
    values = dict(**split)
    return {"split_seed" if key == "seed" else key: value for key, value in values.items()}


def folds_to_do(wanted: Names | int | None, total: int) -> list[int]:
    """The folds to do now."""
    if wanted is None:
        return list(range(total))
    try:
        chosen = [int(fold) for fold in as_list(wanted)]
    except ValueError as error:
        raise UserError("folds", f"its value is {wanted!r}", 'use numbers from 0 up, separated by commas: "0,2"') from error
    strange = [fold for fold in chosen if not 0 <= fold < total]
    if strange or not chosen:
        problem = f"there is no fold {strange[0]}" if strange else "none is named"
        raise UserError("folds", problem, f"use 0 to {total - 1}")
    return chosen


def held_out_cases(merged: Mapping[str, Any], split: Split) -> dict[int, dict[str, list[str]]]:
    """The cases that each fold is scored on, as their label maps are named, each with the files of its scan and its reference.

    Raises:
        UserError: before anything is trained, where a scored case is also trained on, or is scored in two folds.
    """
    source = merged.get("datalist") or merged["dataset_dir"]
    listing = find_cases(merged["dataset_dir"], merged.get("datalist"), merged.get("channels"))
    keys = {case.fold for case in listing.labelled if case.fold is not None}
    if split.num_folds > 1 and keys and max(keys) >= split.num_folds:
        problem = f"its cases have fold keys up to {max(keys)}, but num_folds is {split.num_folds}: some would be in no table"
        raise UserError(source, problem, f"give --num_folds {max(keys) + 1}")
    raise_all(listing.problems)
    found: dict[int, dict[str, list[str]]] = {}
    fold_of: dict[str, int] = {}
    for fold in range(split.num_folds):
        own = replace(split, fold=fold)
        parts = [[case.item() for case in sections(listing, own)[part]] for part in ("training", own.held_out)]
        trained, scored = ({case["image"] for case in part} for part in parts)
        if trained & scored:
            both = counted(len(trained & scored), f"case of fold {fold} is", f"cases of fold {fold} are")
            problem = f"{both} trained on and scored, such as {min(trained & scored)}"
            raise UserError("split", problem, "change the sections of the datalist, or the sizes")
        twice = sorted(image for image in scored if image in fold_of)
        if twice:
            problem = f"{twice[0]} is held out in fold {fold_of[twice[0]]} and in fold {fold}"
            fix = 'a list with a section "validation" has one fold: use a list without it, or train once without `experiment`'
            raise UserError(source, problem, fix)
        fold_of |= dict.fromkeys(scored, fold)
        items = listed_scans(parts[1], merged["dataset_dir"])
        found[fold] = {str(item["case"]): [*identity.files_of(item), item["label_path"]] for item in items}
    return found


def merged_config(files: Sequence[str], overrides: Mapping[str, Any]) -> tuple[dict, Split]:
    """The training configuration as it is in the files, overrides laid over it and nothing evaluated; and its split.

    Blocks that are those of this bundle's configs are left out, but for `SHARED`.
    """
    from monai.bundle import ConfigParser

    from bundle.arguments import keys, overlays
    from bundle.arguments.command_line import CommandLine, normal
    from bundle.arguments.config import as_json, combined, is_other

    words: dict[str, str | None] = {normal(key): str(value) for key, value in overrides.items()}
    line = CommandLine(words | {"config_file": json.dumps(list(files))})
    overlays.check_order(files)
    parser = ConfigParser(ConfigParser.load_config_files(list(files)))
    keys.check_nested(parser.get(), line)
    new = CommandLine({key: value for key, value in line.values.items() if key.split("::")[0] not in {*parser.get(), *keys.shipped_keys()}})
    for key, value in overrides.items():
        parser[key] = value
    # each training looks at all of it again: here what would be found only then, when a folder is claimed already
    overlays.check(parser, line)
    keys.check(parser, new)
    config = dict(parser.get())
    usual: Any = combined(config.get("overlays") or ()).get()
    blocks = {key: value for key, value in config.items() if isinstance(value, dict) and key not in {"overlays", *SHARED, *overrides}}
    # as they are written: evaluating a key below changes them
    own = {key: json.loads(as_json(value)) for key, value in blocks.items() if is_other(value, usual.get(key))}
    for key in ("num_folds", "dataset_dir"):
        if key not in config:
            raise UserError(files[0], f"has no '{key}'", "give configs/train.json first, then overlays")
    if str(config["dataset_dir"]).startswith("$"):
        raise UserError("dataset_dir", "is not given", "say which data set: --dataset_dir FOLDER")
    config["dataset_dir"] = parser["dataset_dir"] = str(Path(str(config["dataset_dir"])).expanduser().resolve())
    names = {"split_seed" if key == "seed" else key: key for key in Split().keys()}
    for key in (*names, "datalist"):
        if str(config.get(key)).startswith(("$", "@", "%")):
            config[key] = parser.get_parsed_content(key)
    split = Split.of({name: config[key] for key, name in names.items() if key in config and key != "fold"})
    kept = {key: value for key, value in config.items() if key not in {"overlays", *blocks}} | own
    return kept, split


def check_or_write_plan(output: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan of a new experiment; refuse a folder that holds another one.

    Blocks of which a plan of an earlier version says nothing count as unchanged.
    """
    path = output / "plan.json"
    plan = json.loads(json.dumps(plan))
    if path.is_file():
        found = ({"blocks": plan["blocks"]} if "blocks" in plan else {}) | read_object(path, '{"name": ..., "config": {...}}')
        if found != plan:
            ours, theirs = (_flat(part) for part in (plan, found))
            changed = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
            text = ", ".join(_change(key, theirs.get(key), ours.get(key)) for key in changed[:5])
            raise UserError(output, f"holds another experiment ({text})", "choose another folder, or remove this one")
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with the keys of its parts beside its own."""
    parts = [plan[name] for name in ("config", "blocks") if isinstance(plan.get(name), dict)]
    return {key: value for part in (plan, *parts) for key, value in part.items() if part is not plan or key not in ("config", "blocks")}


def _change(key: str, before: Any, now: Any) -> str:
    """A difference between two plans in words; blocks are too long for a line."""
    blocks = (isinstance(before, dict) and "_target_" in before) or (isinstance(now, dict) and "_target_" in now)
    return f"{key} is another block now" if blocks else f"{key} was {before}, is {now} now"
