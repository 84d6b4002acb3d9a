"""One experiment: train every fold of a configuration, predict the held-out cases, score them in one table; resumable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import root
from bundle.errors import UserError
from bundle.files import write_json

# what a trained network and its inference must agree on: taken from the training configuration, given to inference
SHARED = ("labels", "network_def", "spacing", "hu_range")
# which cases are held out: given to both
SPLIT = ("dataset_dir", "datalist", "num_folds", "split_seed", "with_test", "train_size", "test_size")
Names = str | Sequence[str]


def experiment(
    output_dir: str,
    *,
    config_file: Names = ("configs/train.json",),
    overlays: Names = (),
    inference_config: Names = ("configs/inference.json", "configs/evaluate.json"),
    folds: Names | None = None,
    name: str | None = None,
    checkpoint: str = "last",
    train_only: bool = False,
    **overrides: Any,
) -> dict | None:
    """Train, predict and score all folds of a configuration with one command; the same command goes on after an interruption.

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
        train_only: stop before the held-out cases are predicted; the command without it goes on there.
        overrides: any key of the training config: `--dataset_dir D --max_epochs 50 --train_size 20`.

    Returns:
        the summary over all folds, or None while folds are missing.

    Raises:
        UserError: configs that are not there, a folder that holds another experiment, a run that fails.
    """
    output = Path(output_dir).resolve()
    files = [_config(item) for item in _listed(config_file) + _listed(overlays)]
    merged = _merged(files, overrides)
    if checkpoint not in ("last", "best"):
        raise UserError("checkpoint", f"'{checkpoint}' is no choice", "use last or best")
    plan = {"name": name or output.name, "checkpoint": checkpoint, "config": merged}
    _claim(output, plan)
    shared = output / "shared.json"
    write_json(shared, {key: merged[key] for key in SHARED if key in merged})
    inference = [*(_config(item) for item in _listed(inference_config)), str(shared)]
    total = int(merged["num_folds"])
    wanted = [int(fold) for fold in _listed(folds)] if folds is not None else list(range(total))
    for fold in wanted:
        folder = output / f"fold_{fold}"
        if not (folder / "trained.json").is_file():
            _train(folder, fold, total, files, overrides)
        if not train_only and not (folder / "evaluation" / "summary.json").is_file():
            _evaluate(folder, fold, merged, inference, checkpoint)
    missing = [fold for fold in range(total) if not (output / f"fold_{fold}" / "evaluation" / "summary.json").is_file()]
    if missing:
        print(f"Folds still to do before the table: {', '.join(map(str, missing))}")
        return None
    return _summarise(output, plan, total)


def _train(folder: Path, fold: int, total: int, files: Sequence[str], overrides: Mapping[str, Any]) -> None:
    """Train one fold in a process of its own; goes on where an earlier one was interrupted."""
    print(f"Fold {fold} of {total}: training", flush=True)
    keys = {**overrides, "fold": fold, "output_dir": str(folder), "ckpt_dir": str(folder / "models")}
    if (folder / "last.pt").is_file():
        keys["resume"] = True
    _run(["training", "--config_file", json.dumps(list(files))], keys, f"training of fold {fold}")
    write_json(folder / "trained.json", {"fold": fold})


def _evaluate(folder: Path, fold: int, merged: Mapping[str, Any], inference: Sequence[str], checkpoint: str) -> None:
    """Predict and score the held-out cases of one fold: the validation cases, or the test cases where there is one fold."""
    print(f"Fold {fold}: held-out cases", flush=True)
    section = "test" if int(merged["num_folds"]) == 1 else "validation"
    keys = {key: merged[key] for key in SPLIT if key in merged}
    keys |= {"fold": fold, "section": section, "ckpt_path": str(_weights(folder, checkpoint)), "output_dir": str(folder / "evaluation")}
    keys["previews"] = False  # the table is wanted here; `misses` draws cases
    _run(["inference", "--config_file", json.dumps(list(inference))], keys, f"evaluation of fold {fold}")
    if not (folder / "evaluation" / "summary.json").is_file():
        raise UserError(folder / "evaluation", "the evaluation ended without summary.json", "read the messages above")


def _weights(folder: Path, checkpoint: str) -> Path:
    """The weights to score: those of the last epoch (in the training state), or the best ones."""
    return folder / "last.pt" if checkpoint == "last" else folder / "models" / "model.pt"


def _summarise(output: Path, plan: Mapping[str, Any], total: int) -> dict:
    """One table over the cases of all folds."""
    from bundle.reports.score import read_metrics, summarise, table, write_metrics

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


def _run(command: list[str], keys: Mapping[str, Any], what: str) -> None:
    """`python -m monai.bundle run` with these keys, in the same environment; its output goes to the console."""
    given = {key: value for key, value in keys.items() if value is not None}
    arguments = [item for key, value in given.items() for item in (f"--{key}", value if isinstance(value, str) else repr(value))]
    path = os.pathsep.join(part for part in (root(), os.environ.get("PYTHONPATH", "")) if part)
    done = subprocess.run([sys.executable, "-m", "monai.bundle", "run", *command, *arguments], env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise UserError(what, f"ended with exit code {done.returncode}", "read the messages above; the same command goes on from here")


def _merged(files: Sequence[str], overrides: Mapping[str, Any]) -> dict:
    """The training configuration as it stands in the files, overrides laid over it; nothing evaluated."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(ConfigParser.load_config_files(list(files)))
    for key, value in overrides.items():
        parser[key] = value
    config = dict(parser.get())
    for key in ("num_folds", "dataset_dir"):
        if key not in config:
            raise UserError(files[0], f"has no '{key}'", "give configs/train.json first, then overlays")
    if str(config["dataset_dir"]).startswith("$"):
        raise UserError("dataset_dir", "is not given", "say which data set: --dataset_dir FOLDER")
    config["dataset_dir"] = str(Path(config["dataset_dir"]).resolve())
    return {key: value for key, value in config.items() if key in (*SHARED, *SPLIT) or key in overrides or not isinstance(value, dict)}


def _claim(output: Path, plan: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another experiment."""
    path = output / "plan.json"
    plan = json.loads(json.dumps(plan))
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != plan:
            ours, theirs = ({**part, **part["config"]} for part in (plan, found))
            changed = sorted(key for key in ours.keys() | theirs.keys() if key != "config" and ours.get(key) != theirs.get(key))
            text = ", ".join(f"{key}: {theirs.get(key)} there, {ours.get(key)} now" for key in changed[:5])
            raise UserError(output, f"holds another experiment ({text})", "choose another folder, or remove this one")
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)


def _config(item: str) -> str:
    """The path of a config: as given, or in the bundle, or by the name of one in the bundle's `configs/`."""
    for path in (Path(item), Path(root()) / item, Path(root()) / "configs" / f"{item}.json"):
        if path.is_file():
            return str(path.resolve())
    known = ", ".join(sorted(path.stem for path in (Path(root()) / "configs").glob("*.json")))
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
    """Mean seconds of the network per case, where the runs' `run.json` tell them."""
    values = []
    for folder in folders:
        path = folder / "evaluation" / "run.json"
        for case in json.loads(path.read_text(encoding="utf-8")).get("cases", []) if path.is_file() else []:
            values += [case["seconds"]["network"]] if "network" in (case.get("seconds") or {}) else []
    return sum(values) / len(values) if values else None


def _listed(items: Names | int) -> list[str]:
    if isinstance(items, str):
        return [item.strip() for item in items.split(",") if item.strip()]
    return [str(items)] if isinstance(items, int) else [str(item) for item in items]


def _by_case(row: Mapping[str, Any]) -> str:
    return row["case"]
