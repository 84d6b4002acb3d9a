"""The experiment runner: which runs it starts with which keys, resuming, the table over all folds. MONAI's runs are replaced."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from bundle.data.datalist import datalist
from bundle.errors import UserError
from bundle.evaluation import experiment as module
from bundle.evaluation.experiment import experiment
from bundle.evaluation.score import read_metrics, write_metrics
from bundle.metrics import COLUMNS

TRAIN = {
    "dataset_dir": "$@bundle_root + '/data'",
    "labels": {"background": 0, "pancreas": 1},
    "network_def": {"_target_": "bundle.networks.AttentionUnet", "num_gates": 2},
    "spacing": [2, 2, 2],
    "num_folds": 3,
    "split_seed": 4,
    "datalist": None,
    "max_epochs": 5,
    "train": {"trainer": {}},
}


class Runs:
    """Stands for `monai.bundle run`: notes what it is asked for and leaves what a run leaves."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict]] = []
        self.fail_at: tuple[str, int] | None = None
        self.damaged: set[str] = set()
        self.scored: list[list[str]] = []

    def __call__(self, command: list[str], env: dict) -> subprocess.CompletedProcess:
        assert command[1:4] == ["-m", "monai.bundle", "run"]
        what, flags = command[4], dict(zip((key[2:] for key in command[5::2]), command[6::2], strict=True))
        keys = {**flags, **json.loads(Path(json.loads(flags["config_file"])[-1]).read_text(encoding="utf-8"))}
        fold, output = keys["fold"], Path(keys["output_dir"])
        self.calls.append((what, keys))
        output.mkdir(parents=True, exist_ok=True)
        if what == "training":
            weights = {"w": torch.zeros(2, 3), "n.running_mean": torch.zeros(7)}
            torch.save({"model": weights, "epoch": 5}, output / "last.pt")
        if self.fail_at == (what, fold):
            return subprocess.CompletedProcess(command, 1)
        if what == "training":
            (output / "models").mkdir(exist_ok=True)
            torch.save(weights, output / "models" / "model.pt")
        else:
            split = {key: keys[key] for key in ("fold", "num_folds", "with_test", "train_size", "test_size")} | {"seed": keys["split_seed"]}
            cases = [
                Path(item["label"]).name.split(".")[0] for item in datalist(keys["dataset_dir"], keys["section"], keys["datalist"], **split)
            ]
            self.scored.append(cases)
            entries = [{"case": case, "status": "failed" if case in self.damaged else "ok"} for case in cases]
            (output / "run.json").write_text(json.dumps({"cases": [{**one, "seconds": {"network": 1.0 + fold}} for one in entries]}))
            if self.damaged & set(cases):
                return subprocess.CompletedProcess(command, 2)
            scores = dict.fromkeys(COLUMNS, 0.5 + fold / 10)
            write_metrics([{"case": case, "structure": "pancreas", **scores} for case in cases], output / "metrics.csv")
        return subprocess.CompletedProcess(command, 0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    stand_in = Runs()
    monkeypatch.setattr(module.subprocess, "run", stand_in)
    return stand_in


@pytest.fixture
def configs(tmp_path: Path) -> dict:
    for name, content in (("train", TRAIN), ("no_gates", {"network_def#num_gates": 0}), ("inference", {})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "data" / folder / f"case_{number}.nii.gz").touch()
    names = {key: str(tmp_path / f"{name}.json") for key, name in (("config_file", "train"), ("inference_config", "inference"))}
    return {**names, "dataset_dir": str(tmp_path / "data")}


def test_all_folds_then_one_table(runs: Runs, configs: dict, tmp_path: Path) -> None:
    summary = experiment(str(tmp_path / "out"), overlays=str(tmp_path / "no_gates.json"), max_epochs=7, **configs)
    assert [(what, keys["fold"]) for what, keys in runs.calls] == [(what, k) for k in range(3) for what in ("training", "inference")]
    training, inference = runs.calls[2][1], runs.calls[3][1]
    assert training["max_epochs"] == 7 and training["ckpt_dir"] == str(tmp_path / "out" / "fold_1" / "models")
    assert json.loads(training["config_file"])[1] == str(tmp_path / "no_gates.json") and "resume" not in training
    assert inference["ckpt_path"] == training["output_dir"] + "/last.pt"
    assert (inference["section"], inference["split_seed"], inference["previews"]) == ("validation", 4, False)
    split = ("fold", "num_folds", "split_seed", "with_test", "train_size", "test_size")
    assert [training[key] for key in split] == [inference[key] for key in split] == [1, 3, 4, False, None, None]
    assert inference["datalist"] is None
    shared = json.loads(Path(json.loads(inference["config_file"])[-2]).read_text(encoding="utf-8"))
    assert shared["network_def"]["num_gates"] == 0 and shared["labels"] == TRAIN["labels"]
    assert sorted(case for cases in runs.scored for case in cases) == [f"case_{number}" for number in range(6)]
    assert summary["cases"] == 6 and summary["structures"]["pancreas"]["dice"]["mean"] == pytest.approx(0.6)
    assert [row["case"] for row in read_metrics(tmp_path / "out" / "metrics.csv")] == [f"case_{number}" for number in range(6)]
    known = json.loads((tmp_path / "out" / "experiment.json").read_text(encoding="utf-8"))
    assert known["parameters"] == 6 and known["seconds_per_case"] == pytest.approx(2.0)


def test_the_same_command_goes_on(runs: Runs, configs: dict, tmp_path: Path) -> None:
    runs.fail_at = ("training", 1)
    with pytest.raises(UserError, match="training of fold 1: ended with exit code 1"):
        experiment(str(tmp_path / "out"), **configs)
    runs.calls.clear()
    runs.fail_at = None
    experiment(str(tmp_path / "out"), **configs)
    assert [(what, keys["fold"]) for what, keys in runs.calls] == [(what, k) for k in (1, 2) for what in ("training", "inference")]
    assert runs.calls[0][1]["resume"] is True and "resume" not in runs.calls[2][1]
    runs.calls.clear()
    experiment(str(tmp_path / "out"), **configs)
    assert not runs.calls


def test_some_folds_wait_for_the_others(runs: Runs, configs: dict, tmp_path: Path) -> None:
    assert experiment(str(tmp_path / "out"), folds="0,2", **configs) is None
    assert not (tmp_path / "out" / "metrics.csv").exists()
    assert experiment(str(tmp_path / "out"), folds=1, **configs)["cases"] == 6


def test_training_first_and_best_weights(runs: Runs, configs: dict, tmp_path: Path) -> None:
    assert experiment(str(tmp_path / "out"), train_only=True, checkpoint="best", **configs) is None
    assert [what for what, _ in runs.calls] == ["training"] * 3
    experiment(str(tmp_path / "out"), checkpoint="best", **configs)
    assert [what for what, _ in runs.calls[3:]] == ["inference"] * 3
    assert runs.calls[3][1]["ckpt_path"].endswith("fold_0/models/model.pt")


def test_one_fold_is_scored_on_the_test_cases(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), num_folds=1, train_size=2, test_size=4, **configs)
    assert len(runs.calls) == 2 and runs.calls[1][1]["section"] == "test"
    assert (runs.calls[1][1]["train_size"], runs.calls[1][1]["test_size"]) == (2, 4) and len(runs.scored[0]) == 4


def test_weights_are_scored_as_they_are(runs: Runs, configs: dict, tmp_path: Path) -> None:
    """Before fine-tuning: nothing is trained, every fold is scored with the same checkpoint, whose values are counted."""
    torch.save({"w": torch.zeros(5)}, tmp_path / "given.pt")
    summary = experiment(str(tmp_path / "out"), weights=str(tmp_path / "given.pt"), **configs)
    assert [what for what, _ in runs.calls] == ["inference"] * 3 and summary["cases"] == 6
    assert {keys["ckpt_path"] for _, keys in runs.calls} == {str(tmp_path / "given.pt")}
    assert json.loads((tmp_path / "out" / "experiment.json").read_text(encoding="utf-8"))["parameters"] == 5
    runs.calls.clear()
    experiment(str(tmp_path / "out"), weights=str(tmp_path / "given.pt"), **configs)
    assert not runs.calls
    torch.save({"w": torch.zeros(6)}, tmp_path / "given.pt")
    experiment(str(tmp_path / "out"), weights=str(tmp_path / "given.pt"), **configs)
    assert [what for what, _ in runs.calls] == ["inference"] * 3, "other weights in the same file"
    with pytest.raises(UserError, match="holds another experiment"):
        experiment(str(tmp_path / "out"), **configs)
    with pytest.raises(UserError, match=r"absent.pt: there is no such checkpoint"):
        experiment(str(tmp_path / "new"), weights=str(tmp_path / "absent.pt"), **configs)


def test_a_corrected_reference_is_scored_anew(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), **configs)
    runs.calls.clear()
    for fold in range(3):
        (tmp_path / "out" / f"fold_{fold}" / "last.pt").unlink()
    experiment(str(tmp_path / "out"), **configs)
    assert not runs.calls, "states that were deleted to save room are not missed"
    reference, scored = tmp_path / "data" / "labelsTr" / "case_3.nii.gz", tmp_path / "out" / "fold_0" / "scored.json"
    reference.chmod(0o640)
    os.utime(reference, (1, 1))
    experiment(str(tmp_path / "out"), **configs)
    assert not runs.calls, "another time or mode, as on another machine, the same bytes"
    before = scored.read_text(encoding="utf-8")
    scored.write_text('{"fold": 0, "cases": 2}')
    experiment(str(tmp_path / "out"), **configs)
    assert not runs.calls, "a record of an earlier version"
    scored.write_text(before)
    fold = next(n for n, cases in enumerate(runs.scored) if "case_3" in cases)
    reference.write_bytes(b"corrected")
    with pytest.raises(UserError, match=rf"fold_{fold}/last\.pt: these weights are gone, and the fold is to be scored anew"):
        experiment(str(tmp_path / "out"), **configs)
    assert (tmp_path / "out" / f"fold_{fold}" / "scored.json").is_file(), "what was scored is not thrown away"
    torch.save({"model": {"w": torch.zeros(2, 3)}}, tmp_path / "out" / f"fold_{fold}" / "last.pt")
    (tmp_path / "data" / "labelsTr" / "case_3.nii.gz").write_bytes(b"corrected")
    experiment(str(tmp_path / "out"), **configs)
    assert [what for what, _ in runs.calls] == ["inference"] and "case_3" in runs.scored[-1]


def test_other_weights_to_begin_from_do_not_pass_for_those_that_were_trained_from(runs: Runs, configs: dict, tmp_path: Path) -> None:
    (tmp_path / "start.pt").write_bytes(b"one")
    keys = {**configs, "pretrained": str(tmp_path / "start.pt")}
    (tmp_path / "train.json").write_text(json.dumps({**TRAIN, "pretrained": None}))
    experiment(str(tmp_path / "out"), **keys)
    runs.calls.clear()
    (tmp_path / "start.pt").write_bytes(b"two")
    with pytest.raises(UserError, match=r"fold_0: was trained from other weights than .*start\.pt holds now.*use another folder"):
        experiment(str(tmp_path / "out"), **keys)
    assert not runs.calls
    (tmp_path / "start.pt").write_bytes(b"one")
    assert experiment(str(tmp_path / "out"), **keys)["cases"] == 6 and not runs.calls
    # the same of a fold that was interrupted: its state is of the first weights
    runs.fail_at = ("training", 0)
    with pytest.raises(UserError, match="exit code 1"):
        experiment(str(tmp_path / "again"), **keys)
    (tmp_path / "start.pt").write_bytes(b"two")
    with pytest.raises(UserError, match=r"fold_0: was trained from other weights"):
        experiment(str(tmp_path / "again"), **keys)


def test_a_value_of_none_reaches_training_and_scoring_alike(runs: Runs, configs: dict, tmp_path: Path) -> None:
    """An overlay sets sizes, the command line takes them back: dropped in one of the two runs, scored cases were trained on."""
    (tmp_path / "sizes.json").write_text(json.dumps({"num_folds": 1, "train_size": 2, "test_size": 3}))
    experiment(str(tmp_path / "out"), overlays=str(tmp_path / "sizes.json"), num_folds=3, train_size=None, test_size=None, **configs)
    assert {(keys["num_folds"], keys["train_size"], keys["test_size"]) for _, keys in runs.calls} == {(3, None, None)}
    assert sorted(case for cases in runs.scored for case in cases) == [f"case_{number}" for number in range(6)]


def test_a_scan_damaged_after_the_training_is_named_until_it_is_mended(runs: Runs, configs: dict, tmp_path: Path) -> None:
    runs.damaged = {"case_3"}
    for _ in range(2):
        with pytest.raises(UserError, match="1 of 2 held-out cases could not be segmented: case_3"):
            experiment(str(tmp_path / "out"), **configs)
    assert not (tmp_path / "out" / "metrics.csv").exists()
    runs.damaged = set()
    assert experiment(str(tmp_path / "out"), **configs)["cases"] == 6


def test_a_table_that_lost_a_case_is_made_again(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), **configs)
    table = tmp_path / "out" / "fold_1" / "evaluation" / "metrics.csv"
    write_metrics(read_metrics(table)[1:], table)
    runs.calls.clear()
    assert experiment(str(tmp_path / "out"), **configs)["cases"] == 6
    assert [(what, keys["fold"]) for what, keys in runs.calls] == [("inference", 1)]


def test_a_list_with_more_folds_than_are_asked_for(runs: Runs, configs: dict, tmp_path: Path) -> None:
    pair = (("image", "imagesTr"), ("label", "labelsTr"))
    entries = [{**{key: f"{folder}/case_{n}.nii.gz" for key, folder in pair}, "fold": n // 2} for n in range(6)]
    (tmp_path / "data" / "list.json").write_text(json.dumps({"training": entries}))
    with pytest.raises(UserError, match=r"fold keys up to 2, but num_folds is 2.*--num_folds 3"):
        experiment(str(tmp_path / "out"), datalist=str(tmp_path / "data" / "list.json"), num_folds=2, **configs)
    assert experiment(str(tmp_path / "out"), datalist=str(tmp_path / "data" / "list.json"), num_folds=3, **configs)["cases"] == 6


def test_a_list_that_fixes_the_validation_cases_has_no_folds(runs: Runs, configs: dict, tmp_path: Path) -> None:
    entries = [{key: f"{folder}/case_{n}.nii.gz" for key, folder in (("image", "imagesTr"), ("label", "labelsTr"))} for n in range(6)]
    (tmp_path / "data" / "list.json").write_text(json.dumps({"training": entries[:4], "validation": entries[4:]}))
    with pytest.raises(UserError, match="is held out in fold 0 and in fold 1"):
        experiment(str(tmp_path / "out"), datalist=str(tmp_path / "data" / "list.json"), **configs)
    assert not runs.calls


def test_a_folder_holds_one_experiment(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), **configs)
    with pytest.raises(UserError, match="max_epochs was 5, is 9 now"):
        experiment(str(tmp_path / "out"), max_epochs=9, **configs)


def test_a_block_of_ones_own_is_another_experiment(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), **configs)
    (tmp_path / "mine.json").write_text(json.dumps({"optimizer": {"_target_": "torch.optim.SGD"}}))
    with pytest.raises(UserError, match=r"holds another experiment \(optimizer is another block now\)"):
        experiment(str(tmp_path / "out"), overlays=str(tmp_path / "mine.json"), **configs)


def test_other_configs_of_inference_score_anew(runs: Runs, configs: dict, tmp_path: Path) -> None:
    experiment(str(tmp_path / "out"), **configs)
    runs.calls.clear()
    (tmp_path / "mine.json").write_text("{}")
    both = {**configs, "inference_config": [configs["inference_config"], str(tmp_path / "mine.json")]}
    for _ in range(2):
        experiment(str(tmp_path / "out"), **both)
    assert [what for what, _ in runs.calls] == ["inference"] * 3
    (tmp_path / "mine.json").write_text('{"keep_pieces": {}}')
    experiment(str(tmp_path / "out"), **both)
    assert [what for what, _ in runs.calls] == ["inference"] * 6


def test_mistakes_are_named(runs: Runs, configs: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such config"):
        experiment(str(tmp_path / "out"), overlays="nonsense", **configs)
    with pytest.raises(UserError, match="dataset_dir: is not given"):
        experiment(str(tmp_path / "out"), **{**configs, "dataset_dir": "$@bundle_root"})
    for folds, said in (("x", "its value is 'x'"), ("0,7", "there is no fold 7")):
        with pytest.raises(UserError, match=said):
            experiment(str(tmp_path / "out"), folds=folds, **configs)
    with pytest.raises(UserError, match="num_folds: its value is 'many'"):
        experiment(str(tmp_path / "out"), num_folds="many", **configs)
    assert not runs.calls


@pytest.mark.slow
def test_two_real_folds_on_a_phantom(tmp_path: Path) -> None:
    """No stand-ins: phantom, two trainings of one epoch, two evaluations, one table, and its comparison with itself."""
    from bundle.data.synthetic.phantom import write_phantom
    from bundle.evaluation.compare import compare

    write_phantom(tmp_path / "data", cases=4, seed=1, max_voxels=2e5, jobs=1, progress=False)
    small = {"spacing": [8.0, 8.0, 8.0], "patch_size": [32, 32, 32], "network_def#channels": [4, 8, 16], "num_workers": 0, "max_epochs": 1}
    (tmp_path / "small.json").write_text(json.dumps(small))
    keys = {"dataset_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache"), "num_folds": 2}
    summary = experiment(str(tmp_path / "a"), overlays=[str(tmp_path / "small.json"), "unet", "loss_dice_ce"], **keys)
    rows = read_metrics(tmp_path / "a" / "metrics.csv")
    assert summary["cases"] == 4 and len(rows) == 4 * 3 and all(row["reference_ml"] >= 0 for row in rows)
    known = json.loads((tmp_path / "a" / "experiment.json").read_text(encoding="utf-8"))
    assert known["forward"]["size"] == [32, 32, 32] and 0 < known["forward"]["seconds"] < 10
    assert known["seconds_per_case"] > 0 and 1000 < known["parameters"] < 100_000
    effects = compare(str(tmp_path / "a"), str(tmp_path / "a"), output_dir=tmp_path / "out", names="a,b", resamples=50)
    assert all(effect.statistics.mean_difference in (0, None) for effect in effects)
