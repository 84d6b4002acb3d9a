"""What each key may be, on command lines and in configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import monai.bundle
import pytest
from command_lines import INFER, TRAIN, argv, shown

from bundle.arguments.kinds import Wrong
from bundle.arguments.values import KINDS


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (
            [
                "training",
                "--config_file",
                str([TRAIN[2], "configs/overlays/train/loss_dice_ce.json"]),
                "--lambda_dice",
                "0",
                "--lambda_ce",
                "0",
            ],
            "--lambda_dice, --lambda_ce",
            "nothing would be learnt",
        ),
        ([*TRAIN, "--max_epochs", "many"], "--max_epochs", "'many'"),
        ([*TRAIN, "--max_epochs", "-3"], "--max_epochs", "a whole number from 1 up"),
        ([*TRAIN, "--max_epochs", "None"], "--max_epochs", "None does not fit"),
        ([*TRAIN, "--max_epochs"], "--max_epochs", "no value after this key"),
        ([*TRAIN, "--learning_rate", "x"], "--learning_rate", "'x'"),
        ([*TRAIN, "--learning_rate", "1e30"], "--learning_rate", "a number above 0 up to 10"),
        ([*TRAIN, "--learning_rate", "-0.001"], "--learning_rate", "a number above 0 up to 10"),
        ([*TRAIN, "--learning_rate", "1e999"], "--learning_rate", "a number above 0"),
        ([*TRAIN, "--spacing", "1e9,1e9,1e9"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*TRAIN, "--spacing", "2,2,0"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*INFER, "--spacing", "2,2,2000"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*INFER, "--spacing", "2,2,-2"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*INFER, "--spacing", "2,2,nan"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*INFER, "--spacing", "2"], "--spacing", "three numbers from 0.1 to 20 in mm"),
        ([*TRAIN, "--batch_size", "-1"], "--batch_size", "a whole number from 1 up"),
        ([*TRAIN, "--max_epochs", "0"], "--max_epochs", "a whole number from 1 up"),
        ([*TRAIN, "--patch_size", "96,96,1000000000"], "--patch_size", "up to 4096"),
        ([*TRAIN, "--hu_range", "-1e9,1e9"], "--hu_range", "from -100000 to 100000"),
        ([*INFER, "--threads", "1000000"], "--threads", "from 0 up to 1024"),
        ([*INFER, "--memory_gb", "0"], "--memory_gb", "a number above 0"),
        ([*INFER, "--memory_gb", "nan"], "--memory_gb", "a number above 0"),
        ([*INFER, "--overlap", "0.9999"], "--overlap", "a number from 0 up to 0.9"),
        ([*TRAIN, "--patch_size", "5"], "--patch_size", "three whole numbers"),
        ([*TRAIN, "--unlisted_labels", "what"], "--unlisted_labels", "background, error"),
        ([*TRAIN, "--fold", "5"], "--fold", "use 0 to 4"),
        ([*TRAIN, "--augment_device", "meta"], "--augment_device", "gpu_augmentation.json"),
        ([*TRAIN, "--labels", "nonsense"], "--labels", "a block such as"),
        ([*TRAIN, "--labels", "{liver: 1, background: 0}"], "labels", "put 'background' first"),
        ([*TRAIN, "--amp", "half"], "--amp", "auto, true or false"),
        ([*TRAIN, "--resume", "yes"], "--resume", "true or false"),
        ([*INFER, "--precision", "fp8"], "--precision", "auto, fp32, bf16, fp16"),
        ([*INFER, "--precision", "fp16", "--device", "cpu"], "--precision", "needs a GPU"),
        ([*INFER, "--overlap", "2"], "--overlap", "a number from 0 up to 0.9"),
        ([*INFER, "--hu_range", "300,-200"], "--hu_range", "the lower one first"),
        ([*INFER, "--device", "gpu"], "--device", "cpu, cuda"),
        ([*INFER, "--device", "cuda:99"], "--device", "give c"),
        ([*INFER, "--threads", "$1 / 0"], "--threads", "division by zero"),
    ],
    ids=shown,
)
def test_a_value_that_a_key_cannot_have_is_named_with_what_it_can(refused: Any, words: list[str], key: str, said: str) -> None:
    refused(words, key, said)


def test_switches_given_as_words_are_switches(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """fire gives `false` as a word, which would be true."""
    monkeypatch.chdir(repository)
    words = ["inference", "--config_file", "configs/inference.json", "--previews", "false", "--overwrite", "TRUE", "--spacing", "3,3,3"]
    monkeypatch.setattr("sys.argv", argv(*words))
    workflow = monai.bundle.ConfigWorkflow("configs/inference.json", previews="false", overwrite="TRUE", spacing=(3, 3, 3))
    workflow.initialize()
    values = [workflow.parser.get_parsed_content(key) for key in ("previews", "overwrite", "spacing", "probabilities")]
    assert values == [False, True, [3, 3, 3], False]


def test_none_takes_back_what_an_overlay_sets(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """MONAI drops keys whose value is None: the overlay's 61 and 21 cases would stay, in a training that says otherwise."""
    monkeypatch.chdir(repository)
    configs = ["configs/train.json", "configs/overlays/experiments/ct82.json"]
    words = ["training", "--config_file", str(configs), "--num_folds", "5", "--train_size", "None", "--test_size", "None"]
    monkeypatch.setattr("sys.argv", argv(*words))
    workflow = monai.bundle.ConfigWorkflow(configs, num_folds=5)
    workflow.initialize()
    split = workflow.parser.get_parsed_content("split")
    assert [split[key] for key in ("num_folds", "train_size", "test_size")] == [5, None, None]


@pytest.mark.parametrize("typed", [True, False])
def test_a_training_may_have_no_seed(monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path, typed: bool) -> None:
    """As the table of keys says: `null` for none, typed or in an overlay."""
    monkeypatch.chdir(repository)
    (tmp_path / "mine.json").write_text('{"seed": null}')
    configs = ["configs/train.json"] if typed else ["configs/train.json", str(tmp_path / "mine.json")]
    monkeypatch.setattr("sys.argv", argv("training", "--config_file", str(configs), *(["--seed", "None"] if typed else [])))
    workflow = monai.bundle.ConfigWorkflow(configs)
    workflow.initialize()
    assert workflow.parser.get_parsed_content("seed") is None
    assert KINDS["seed"](3) == 3
    with pytest.raises(Wrong, match="from 0 up, or None"):
        KINDS["seed"](-1)


def test_a_value_of_a_mistake_is_shown_in_brief(typed: Any) -> None:
    line = typed(*TRAIN, "--precision_of_patches", "3", "--patch_size", "x" * 500)
    assert line.startswith("--precision_of_patches")
    line = typed(*TRAIN, "--patch_size", "x" * 500)
    assert len(line) < 200 and "xxx... does not fit this key" in line
