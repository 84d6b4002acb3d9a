"""What an experiment is before it runs: folds, cases, and a folder that holds one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.arguments.config_files import config_path
from bundle.data.splits import Split
from bundle.errors import UserError
from bundle.evaluation.experiment_plan import check_or_write_plan, folds_to_do, held_out_cases, merged_config, split_keys


def test_a_split_as_the_keys_of_the_configs():
    keys = split_keys(Split(fold=2, num_folds=4, seed=7, train_size=3))
    assert keys == {"fold": 2, "num_folds": 4, "split_seed": 7, "with_test": False, "train_size": 3, "test_size": None}


@pytest.mark.parametrize(("wanted", "expected"), [(None, [0, 1, 2]), ("0, 2", [0, 2]), (1, [1]), (["2", 0], [2, 0])])
def test_folds_to_do(wanted, expected):
    assert folds_to_do(wanted, 3) == expected


@pytest.mark.parametrize(
    ("wanted", "said"), [("x", "its value is 'x'"), ("0,3", "there is no fold 3"), (-1, "there is no fold -1"), ("", "none")]
)
def test_folds_that_there_are_not(wanted, said):
    with pytest.raises(UserError, match=rf"folds: {said}"):
        folds_to_do(wanted, 3)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for number in range(6):
            (tmp_path / folder / f"case_{number}.nii.gz").touch()
    return tmp_path


def test_every_case_is_held_out_once(data):
    found = held_out_cases({"dataset_dir": str(data)}, Split(num_folds=3, seed=1))
    assert list(found) == [0, 1, 2] and [len(cases) for cases in found.values()] == [2, 2, 2]
    assert sorted(case for cases in found.values() for case in cases) == [f"case_{number}" for number in range(6)]
    one = held_out_cases({"dataset_dir": str(data)}, Split(num_folds=1, test_size=2))
    assert [len(cases) for cases in one.values()] == [2]


def test_lists_whose_folds_do_not_fit(data):
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(6)]
    merged = {"dataset_dir": str(data), "datalist": str(data / "list.json")}
    (data / "list.json").write_text(json.dumps({"training": [{**entry, "fold": n // 2} for n, entry in enumerate(entries)]}))
    found = held_out_cases(merged, Split(num_folds=3))
    assert {fold: list(cases) for fold, cases in found.items()} == {n: [f"case_{2 * n}", f"case_{2 * n + 1}"] for n in range(3)}
    assert found[1]["case_3"] == [str(data / "imagesTr" / "case_3.nii.gz"), str(data / "labelsTr" / "case_3.nii.gz")]
    with pytest.raises(UserError, match=r"fold keys up to 2, but num_folds is 2.*--num_folds 3"):
        held_out_cases(merged, Split(num_folds=2))
    (data / "list.json").write_text(json.dumps({"training": entries[:4], "validation": entries[4:]}))
    with pytest.raises(UserError, match="is held out in fold 0 and in fold 1"):
        held_out_cases(merged, Split(num_folds=2))


def test_blocks_count_where_they_are_not_this_bundles(tmp_path):
    def config(*overlays: str, **keys: object) -> dict:
        files = [config_path(name) for name in ("configs/train.json", *overlays)]
        return merged_config(files, {"dataset_dir": str(tmp_path), **keys})[0]

    (tmp_path / "mine.json").write_text(json.dumps({"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}, "notes": {"by": "me"}}))
    usual = config()
    assert not {"optimizer", "train", "overlays", "loss"} & usual.keys() and usual["network_def"]["num_gates"] == 2
    assert not {"loss", "overlays"} & config("loss_dice_ce").keys(), "an overlay of this bundle, with its own keys"
    own = config(str(tmp_path / "mine.json"))
    assert {key: own[key] for key in own.keys() - usual.keys()} == json.loads((tmp_path / "mine.json").read_text())
    assert config(**{"optimizer#weight_decay": 0.5})["optimizer"]["weight_decay"] == 0.5


def test_a_folder_holds_one_plan(tmp_path):
    plan = {"name": "a", "config": {"max_epochs": 5, "spacing": (2, 2, 2)}}
    check_or_write_plan(tmp_path / "out", plan)
    check_or_write_plan(tmp_path / "out", {**plan, "config": {"spacing": [2, 2, 2], "max_epochs": 5}})
    with pytest.raises(UserError, match=r"another experiment \(max_epochs was 5, is 9 now\)"):
        check_or_write_plan(tmp_path / "out", {**plan, "config": {**plan["config"], "max_epochs": 9}})
    assert json.loads((tmp_path / "out" / "plan.json").read_text()) == json.loads(json.dumps(plan))
    plan["blocks"] = {"loss": {"_target_": "DiceLoss"}}
    check_or_write_plan(tmp_path / "out", plan), "a plan of an earlier version says nothing of blocks"
    with pytest.raises(UserError, match=r"another experiment \(loss is another block now\)"):
        check_or_write_plan(tmp_path / "out", {**plan, "blocks": {}})
