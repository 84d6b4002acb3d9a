"""One experiment: train every fold of a configuration, predict the held-out cases, score them in one table; it resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle import root
from bundle.data.datalist import datalist, find_cases
from bundle.data.scans import listed_scans
from bundle.data.splits import Split
from bundle.errors import UserError
from bundle.files import write_json
from bundle.json_input import read_object
from bundle.results import outputs

# what a trained network and its inference must agree on: taken from the training configuration, given to inference
SHARED = ("labels", "network_def", "spacing", "hu_range")
# keys of `monai.bundle run` itself: they cannot be in a config
RUN_KEYS = ("meta_file", "logging_file", "tracking", "args_file", "init_id", "final_id")
Names = str | Sequence[str]


def experiment(
    output_dir: str,
    *,
    config_file: Names = ("configs/train.json",),
    overlays: Names = (),
    inference_config: Names = ("configs/inference.json", "configs/overlays/inference/evaluate.json"),
    folds: Names | None = None,
    name: str | None = None,
    checkpoint: str = "last",
    train_only: bool = False,
    **overrides: Any,
) -> dict | None:
    """Train, predict and score all folds of a configuration with one command; the same command resumes after an interruption.

    Below `output_dir`: `fold_K/` (training and its checkpoints, `evaluation/` with label maps and scores of the held-out
    cases) and, once every fold is there, `metrics.csv` and `summary.json` over the cases of all folds, as `compare` reads
    them, with `experiment.json` (configuration, parameters of the network, seconds per case).

    Each training and each evaluation is one `python -m monai.bundle run` in a process of its own, with the configs given
    here. With `num_folds` 1 (see the `split_*` overlays) there is one training, scored on the test cases.

    Args:
        output_dir: folder of this experiment.
        config_file: training configs, the later ones over the earlier; paths that do not exist are looked for in the bundle.
        overlays: further ones, by name (`unet`) or path: differences between experiments.
        inference_config: configs that predict and score held-out cases.
        folds: do these only, for instance on several machines: "0,2"; the table is made when all are there.
        name: of the experiment, for tables; the folder's name by default.
        checkpoint: `last` scores the weights of the last epoch; `best` those with the best validation Dice, which were
            chosen on the cases that they are scored on and look better than they are.
        train_only: stop before the held-out cases are predicted; the command without it continues there.
        overrides: any key of the training config: `--dataset_dir D --max_epochs 50 --train_size 20`.

    Returns:
        the summary over all folds, or None while folds are missing.

    Raises:
        UserError: configs that are not there, a folder that holds another experiment, a run that fails, a held-out case that
            cannot be scored: the table is of all of them or is not written.
    """
    output = Path(str(output_dir)).resolve()
    files = [_config(item) for item in _as_list(config_file) + _as_list(overlays)]
    merged, split = _merged(files, overrides)
    if checkpoint not in ("last", "best"):
        raise UserError("checkpoint", f"'{checkpoint}' is not a choice", "use last or best")
    shared = output / "shared.json"
    inference = [*(_config(item) for item in _as_list(inference_config)), str(shared)]
    wanted = _folds(folds, split.num_folds)
    held_out = _held_out(merged, split)
    plan = {"name": name or output.name, "checkpoint": checkpoint, "config": merged}
    _check_or_write_plan(output, plan)
    write_json(shared, {key: merged[key] for key in SHARED if key in merged})
    for fold in wanted:
        folder, own = output / f"fold_{fold}", replace(split, fold=fold)
        if not (folder / "trained.json").is_file():
            _train(folder, own, files, overrides)
        if not train_only and not _is_scored(folder, held_out[fold]):
            _evaluate(folder, own, merged, inference, checkpoint, held_out[fold])
    missing = [fold for fold in held_out if not _is_scored(output / f"fold_{fold}", held_out[fold])]
    if missing:
        print(f"Folds still to do before the table: {', '.join(map(str, missing))}")
        return None
    return _summarise(output, plan, split.num_folds)


def split_keys(split: Split) -> dict[str, Any]:
    """The split as the top-level keys of `train.json` and `evaluate.json`: the same for training and for scoring."""
    values = dict(**split)
    return {"split_seed" if key == "seed" else key: value for key, value in values.items()}


def _folds(wanted: Names | int | None, total: int) -> list[int]:
    """The folds to do now."""
    if wanted is None:
        return list(range(total))
    try:
        chosen = [int(fold) for fold in _as_list(wanted)]
    except ValueError as error:
        raise UserError("folds", f"its value is {wanted!r}", 'use numbers from 0 up, separated by commas: "0,2"') from error
    strange = [fold for fold in chosen if not 0 <= fold < total]
    if strange or not chosen:
        problem = f"there is no fold {strange[0]}" if strange else "none is named"
        raise UserError("folds", problem, f"use 0 to {total - 1}")
    return chosen


def _held_out(merged: Mapping[str, Any], split: Split) -> dict[int, list[str]]:
    """The names of the cases that each fold is scored on, as their label maps are named.

    Raises:
        UserError: before anything is trained, where a scored case is also trained on, or is scored in two folds.
    """
    source = merged.get("datalist") or merged["dataset_dir"]
    keys = {case.fold for case in find_cases(merged["dataset_dir"], merged.get("datalist")).labelled} - {None}
    if split.num_folds > 1 and keys and max(keys) >= split.num_folds:
        problem = f"its cases have fold keys up to {max(keys)}, but num_folds is {split.num_folds}: some would be in no table"
        raise UserError(source, problem, f"give --num_folds {max(keys) + 1}")
    found: dict[int, list[str]] = {}
    fold_of: dict[str, int] = {}
    for fold in range(split.num_folds):
        own = replace(split, fold=fold)
        parts = [datalist(merged["dataset_dir"], part, merged.get("datalist"), **own) for part in ("training", own.held_out)]
        trained, scored = ({case["image"] for case in part} for part in parts)
        if trained & scored:
            problem = f"{len(trained & scored)} cases of fold {fold} are trained on and scored, such as {min(trained & scored)}"
            raise UserError("split", problem, "change the sections of the datalist, or the sizes")
        twice = sorted(image for image in scored if image in fold_of)
        if twice:
            problem = f"{twice[0]} is held out in fold {fold_of[twice[0]]} and in fold {fold}"
            fix = 'a list with a section "validation" has one fold: use a list without it, or train once without `experiment`'
            raise UserError(source, problem, fix)
        fold_of |= dict.fromkeys(scored, fold)
        found[fold] = [str(item["case"]) for item in listed_scans(parts[1], merged["dataset_dir"])]
    return found


def _train(folder: Path, split: Split, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Train one fold in a process of its own; resumes where an earlier one was interrupted."""
    print(f"Fold {split.fold} of {split.num_folds}: training", flush=True)
    keys = {**overrides, **split_keys(split), "output_dir": str(folder), "ckpt_dir": str(folder / "models")}
    if (folder / "last.pt").is_file():
        keys["resume"] = True
    _run("training", files, keys, folder / "training_keys.json", f"training of fold {split.fold}")
    write_json(folder / "trained.json", {"fold": split.fold})


def _evaluate(
    folder: Path, split: Split, merged: Mapping[str, Any], inference: Sequence[str], checkpoint: str, held_out: Sequence[str]
) -> None:
    """Predict and score the held-out cases of one fold: the validation cases, or the test cases where there is one fold.

    Raises:
        UserError: the run fails, or the table it writes is not of all held-out cases.
    """
    print(f"Fold {split.fold}: held-out cases", flush=True)
    output, what = folder / "evaluation", f"evaluation of fold {split.fold}"
    keys = {key: merged[key] for key in ("dataset_dir", "datalist") if key in merged} | split_keys(split)
    keys |= {"section": split.held_out, "ckpt_path": str(_weights(folder, checkpoint)), "output_dir": str(output)}
    keys["previews"] = False  # the table is wanted here; `misses` draws cases
    (folder / "scored.json").unlink(missing_ok=True)
    try:
        _run("inference", inference, keys, folder / "evaluation_keys.json", what)
    except UserError as error:
        lost = sorted(set(held_out) - _segmented(output))
        if not lost:
            raise
        problem = f"{len(lost)} of {len(held_out)} held-out cases could not be segmented: {_first_names(lost)}"
        raise UserError(what, problem, "repair these scans (see the messages above), then run the same command again") from error
    missing = sorted(set(held_out) - _scored_cases(output))
    if missing:
        raise UserError(
            output / "metrics.csv", f"lacks {len(missing)} held-out cases: {_first_names(missing)}", "run the same command again"
        )
    write_json(folder / "scored.json", {"fold": split.fold, "cases": len(held_out)})


def _is_scored(folder: Path, held_out: Sequence[str]) -> bool:
    """Whether the evaluation of a fold ended well and its table holds every held-out case."""
    return (folder / "scored.json").is_file() and set(held_out) <= _scored_cases(folder / "evaluation")


def _segmented(evaluation: Path) -> set[str]:
    """The cases that the record of a run calls finished."""
    path = evaluation / outputs.RECORD
    cases = read_object(path, '{"cases": [...]}').get("cases", []) if path.is_file() else []
    return {case.get("case") for case in cases if case.get("status") == "ok"}


def _scored_cases(evaluation: Path) -> set[str]:
    from bundle.evaluation.score import read_metrics

    table = evaluation / "metrics.csv"
    return {row["case"] for row in read_metrics(table)} if table.is_file() else set()


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _weights(folder: Path, checkpoint: str) -> Path:
    """The weights to score: those of the last epoch (in the training state), or the best ones."""
    return folder / "last.pt" if checkpoint == "last" else folder / "models" / "model.pt"


def _summarise(output: Path, plan: Mapping[str, Any], total: int) -> dict:
    """One table over the cases of all folds."""
    from bundle.evaluation.score import read_metrics, summarise, table, write_metrics

    folders = [output / f"fold_{fold}" for fold in range(total)]
    rows = [row for folder in folders for row in read_metrics(folder / "evaluation" / "metrics.csv")]
    twice = sorted({row["case"] for row in rows if sum(r["case"] == row["case"] and r["structure"] == row["structure"] for r in rows) > 1})
    if twice:
        raise UserError(output, f"cases are held out in several folds: {', '.join(twice[:5])}", "use another folder for another split")
    rows.sort(key=_by_case)
    summary = summarise(rows)
    write_metrics(rows, output / "metrics.csv")
    write_json(output / "summary.json", summary)
    known = {"parameters": _parameters(_weights(folders[0], plan["checkpoint"])), "seconds_per_case": _seconds(folders)}
    write_json(output / "experiment.json", {**plan, **known})
    print(table(summary) + f"\nWritten: {output / 'metrics.csv'}, {output / 'summary.json'}")
    return summary


def _run(what: str, files: Sequence[str], keys: Mapping[str, Any], keys_file: Path, title: str) -> None:
    """`python -m monai.bundle run` with these keys, in the same environment; its output goes to the console.

    The keys are written to `keys_file`, the last of the configs: on the command line MONAI drops every key whose value is None.
    """
    write_json(keys_file, {key: value for key, value in keys.items() if key not in RUN_KEYS})
    given = {key: keys[key] for key in RUN_KEYS if keys.get(key) is not None}
    command = [what, "--config_file", json.dumps([*files, str(keys_file)])]
    command += [item for key, value in given.items() for item in (f"--{key}", value if isinstance(value, str) else repr(value))]
    path = os.pathsep.join(part for part in (root(), os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run([sys.executable, "-m", "monai.bundle", "run", *command], env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise UserError(
            title, f"ended with exit code {done.returncode}", "read the messages above, then run the same command again: it resumes here"
        )


def _merged(files: Sequence[str], overrides: Mapping[str, Any]) -> tuple[dict, Split]:
    """The training configuration as it is in the files, overrides laid over it and nothing evaluated; and its split."""
    from monai.bundle import ConfigParser

    from bundle.arguments import keys, overlays
    from bundle.arguments.command_line import CommandLine, normal

    line = CommandLine({normal(key): str(value) for key, value in overrides.items()} | {"config_file": json.dumps(list(files))})
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
    kept = {key: value for key, value in config.items() if key in (*SHARED, *names) or key in overrides or not isinstance(value, dict)}
    return kept, split


def _check_or_write_plan(output: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan of a new experiment; refuse a folder that holds another one."""
    path = output / "plan.json"
    plan = json.loads(json.dumps(plan))
    if path.is_file():
        found = read_object(path, '{"name": ..., "config": {...}}')
        if found != plan:
            ours, theirs = ({**part, **(part["config"] if isinstance(part.get("config"), dict) else {})} for part in (plan, found))
            changed = sorted(key for key in ours.keys() | theirs.keys() if key != "config" and ours.get(key) != theirs.get(key))
            text = ", ".join(f"{key} was {theirs.get(key)}, is {ours.get(key)} now" for key in changed[:5])
            raise UserError(output, f"holds another experiment ({text})", "choose another folder, or remove this one")
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _config(item: str) -> str:
    """The path of a config: as given, or in the bundle, or by the name of one in the bundle's `configs/` or a folder below it."""
    configs = Path(root()) / "configs"
    for path in (Path(item), Path(root()) / item, *sorted(configs.rglob(f"{item}.json") if Path(item).name == item else [])):
        if path.is_file():
            return str(path.resolve())
    known = ", ".join(sorted(path.stem for path in configs.rglob("*.json")))
    raise UserError(item, "there is no such config", f"give a path, or one of {known}")


def _parameters(checkpoint: Path) -> int | None:
    """Number of trainable values in a checkpoint that holds a state dict: all but the batch norms' running statistics."""
    from bundle.networks.weights import read_state_dict

    if not checkpoint.is_file():
        return None
    state = read_state_dict(checkpoint)
    running = ("running_mean", "running_var", "num_batches_tracked")
    return sum(value.numel() for key, value in state.items() if not key.endswith(running))


def _seconds(folders: Sequence[Path]) -> float | None:
    """Mean seconds of the network per case, where the runs' `run.json` have them."""
    values = []
    for folder in folders:
        path = folder / "evaluation" / outputs.RECORD
        for case in read_object(path, '{"cases": [...]}').get("cases", []) if path.is_file() else []:
            values += [case["seconds"]["network"]] if "network" in (case.get("seconds") or {}) else []
    return sum(values) / len(values) if values else None


def _as_list(items: Names | int) -> list[str]:
    if isinstance(items, str):
        return [item.strip() for item in items.split(",") if item.strip()]
    return [str(items)] if isinstance(items, int) else [str(item) for item in items]


def _by_case(row: Mapping[str, Any]) -> str:
    return row["case"]
