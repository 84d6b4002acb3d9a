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
from bundle.arguments.config import shipped_path
from bundle.arguments.config_files import Names, as_list, config_path
from bundle.data.splits import Split
from bundle.errors import UserError, counted
from bundle.evaluation.experiment_plan import (
    SHARED,
    check_or_write_plan,
    folds_to_do,
    held_out_cases,
    merged_config,
    split_keys,
)
from bundle.files import write_json
from bundle.json_input import read_object
from bundle.results import identity, outputs

# names of cases, each with its files
Cases = Mapping[str, Sequence[str]]
# keys of `monai.bundle run` itself: they cannot be in a config
RUN_KEYS = ("meta_file", "logging_file", "tracking", "args_file", "init_id", "final_id")


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
    weights: str | None = None,
    **overrides: Any,
) -> dict | None:
    """Train, predict and score all folds of a configuration with one command; the same command resumes after an interruption.

    Below `output_dir`: `fold_K/` (training and its checkpoints, `evaluation/` with label maps and scores of the held-out
    cases) and, once every fold is there, `metrics.csv` and `summary.json` over the cases of all folds, as `compare` reads
    them, with `experiment.json` (configuration, parameters of the network, seconds per case and of one forward pass of `patch_size`).

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
        weights: score this checkpoint on the held-out cases of every fold as it is; nothing is trained.
        overrides: any key of the training config: `--dataset_dir D --max_epochs 50 --train_size 20`.

    Returns:
        the summary over all folds, or None while folds are missing.

    Raises:
        UserError: configs that are not there, a folder that holds another experiment, a run that fails, a held-out case that
            cannot be scored: the table is of all of them or is not written.
    """
    output = Path(str(output_dir)).resolve()
    files = [config_path(item) for item in as_list(config_file) + as_list(overlays)]
    merged, split = merged_config(files, overrides)
    if checkpoint not in ("last", "best"):
        raise UserError("checkpoint", f"'{checkpoint}' is not a choice", "use last or best")
    if weights is not None and not Path(weights).is_file():
        raise UserError(weights, "there is no such checkpoint", "give the file of the weights that are to be scored")
    shared = output / "shared.json"
    inference = [*(config_path(item) for item in as_list(inference_config)), str(shared)]
    wanted = folds_to_do(folds, split.num_folds)
    held_out = held_out_cases(merged, split)
    blocks = {key: value for key, value in merged.items() if isinstance(value, dict) and key not in (*SHARED, *overrides)}
    config = {key: value for key, value in merged.items() if key not in blocks}
    plan = {"name": name or output.name, "checkpoint": checkpoint, "config": config, "blocks": blocks}
    if weights is not None:
        plan["weights"] = str(Path(weights).resolve())
    check_or_write_plan(output, plan)
    write_json(shared, {key: merged[key] for key in SHARED if key in merged})
    folders = {fold: output / f"fold_{fold}" for fold in held_out}

    def is_scored(fold: int) -> bool:
        return _is_scored(folders[fold], _scored(_weights(folders[fold], plan), held_out[fold], inference), held_out[fold])

    scored = set()
    for fold in wanted:
        folder, own = folders[fold], replace(split, fold=fold)
        if weights is None and not _is_trained(folder, merged):
            _train(folder, own, files, overrides, merged)
        if is_scored(fold):
            scored.add(fold)
        elif not train_only:
            _evaluate(folder, own, merged, inference, _weights(folder, plan), held_out[fold])
    missing = [fold for fold in folders if fold not in scored and not is_scored(fold)]
    if missing:
        print(f"Folds still to do before the table: {', '.join(map(str, missing))}")
        return None
    return _summarise(output, plan, split.num_folds)


def _train(folder: Path, split: Split, files: Sequence[str], overrides: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    """Train one fold in a process of its own; resumes where an earlier one was interrupted."""
    print(f"Fold {split.fold} of {split.num_folds}: training", flush=True)
    keys = {**overrides, **split_keys(split), "output_dir": str(folder), "ckpt_dir": str(folder / "models")}
    if (folder / "last.pt").is_file():
        keys["resume"] = True
    else:
        write_json(folder / "began.json", {"fold": split.fold, **_began_from(merged)})
    _run("training", files, keys, folder / "training_keys.json", f"training of fold {split.fold}")
    write_json(folder / "trained.json", {"fold": split.fold})


def _began_from(merged: Mapping[str, Any]) -> dict[str, str]:
    """The digest of the weights that a training begins from, where a file of them is named."""
    path = merged.get("pretrained")
    return {"pretrained": identity.file_digest(path)} if isinstance(path, str) and Path(path).is_file() else {}


def _is_trained(folder: Path, merged: Mapping[str, Any]) -> bool:
    """Whether the training of a fold has ended.

    Raises:
        UserError: it has begun from other weights than `pretrained` holds now: hours of training are not thrown away unasked.
    """
    began = folder / "began.json"
    before = read_object(began, '{"fold": 0}').get("pretrained") if began.is_file() and (folder / "last.pt").is_file() else None
    now = _began_from(merged).get("pretrained")
    if before and now and before != now:
        problem = f"was trained from other weights than {merged['pretrained']} holds now"
        raise UserError(folder, problem, "use another folder, or delete this one to train the fold anew")
    return (folder / "trained.json").is_file()


def _evaluate(folder: Path, split: Split, merged: Mapping[str, Any], inference: Sequence[str], weights: Path, held_out: Cases) -> None:
    """Predict and score the held-out cases of one fold: the validation cases, or the test cases where there is one fold.

    Raises:
        UserError: the run fails, or the table it writes is not of all held-out cases.
    """
    print(f"Fold {split.fold}: held-out cases", flush=True)
    output, what = folder / "evaluation", f"evaluation of fold {split.fold}"
    keys = {key: merged[key] for key in ("dataset_dir", "datalist") if key in merged} | split_keys(split)
    keys |= {"section": split.held_out, "ckpt_path": str(weights), "output_dir": str(output)}
    keys["previews"] = False  # the table is wanted here; `misses` draws cases
    if (folder / "scored.json").is_file() and not weights.is_file():
        problem = "these weights are gone, and the fold is to be scored anew: its references, scans, weights or configs have changed"
        raise UserError(weights, problem, "put the file back, or use another folder to train anew")
    (folder / "scored.json").unlink(missing_ok=True)
    scored = _scored(weights, held_out, inference)
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
            output / "metrics.csv", f"lacks {counted(len(missing), 'held-out case')}: {_first_names(missing)}", "run the same command again"
        )
    write_json(folder / "scored.json", {"fold": split.fold, "cases": len(held_out), **scored})


def _is_scored(folder: Path, scored: Mapping[str, Any], held_out: Cases) -> bool:
    """Whether the evaluation of a fold ended well, was of these weights, scans, references and configs, and its table holds every case.

    What a record of an earlier version does not say counts as unchanged.
    """
    path = folder / "scored.json"
    if not path.is_file():
        return False
    made = read_object(path, '{"fold": 0}')
    if any(made.get(name, value) != value for name, value in scored.items()):
        return False
    return set(held_out) <= _scored_cases(folder / "evaluation")


def _scored(weights: Path, held_out: Cases, inference: Sequence[str]) -> dict[str, Any]:
    """What scores depend on, the same on every machine: digests of the weights, where they are still there, and of the references, how
    many bytes the scans have, and the configs of inference: this bundle's by name, others with a digest of what they hold.

    Args:
        weights: file.
        held_out: what is scored.
        inference: configs, the last of which the experiment itself has written.
    """
    scans = [file for *scan, _ in held_out.values() for file in scan]
    known: dict[str, Any] = {"scan_bytes": identity.size(scans), "inference": [_named(Path(config)) for config in inference[:-1]]}
    if all(Path(reference).is_file() for *_, reference in held_out.values()):
        known["references"] = identity.content_digest([reference for *_, reference in held_out.values()])
    if weights.is_file():
        known["weights"] = identity.file_digest(weights)
    return known


def _named(config: Path) -> str:
    """The name of a config, with a digest of what it holds where it is not this bundle's."""
    return config.stem if config == shipped_path(config.stem).resolve() else f"{config.stem} {identity.file_digest(config)}"


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


def _weights(folder: Path, plan: Mapping[str, Any]) -> Path:
    """The weights to score: those that were given, of the last epoch (in the training state), or the best ones."""
    if "weights" in plan:
        return Path(plan["weights"])
    return folder / "last.pt" if plan["checkpoint"] == "last" else folder / "models" / "model.pt"


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
    known = {"parameters": _parameters(_weights(folders[0], plan)), "seconds_per_case": _seconds(folders)}
    write_json(output / "experiment.json", {**plan, **known, "forward": _forward(output, plan["config"])})
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


def _forward(output: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """One forward pass of the network, as it was timed when the table was first made; None for a config without `patch_size`."""
    from bundle.evaluation.forward_time import of_config

    path = output / "experiment.json"
    found = read_object(path, '{"forward": ...}').get("forward") if path.is_file() else None
    return found if found or "patch_size" not in config else of_config(config)


def _by_case(row: Mapping[str, Any]) -> str:
    return row["case"]
