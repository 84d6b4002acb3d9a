"""What is typed after `python -m monai.bundle run`: the line that it ends with, or the value that arrives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fire
import monai.bundle
import pytest
from monai.bundle.scripts import run as monai_run

from bundle.arguments import command_line
from bundle.arguments.mistakes import MISTAKE, one_line

TRAIN, INFER = ["training", "--config_file", "configs/train.json"], ["inference", "--config_file", "configs/inference.json"]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Any:
    """`typed(*words)` runs `python -m monai.bundle run WORDS` in this process; gives the error's line."""
    monkeypatch.chdir(repository)

    def go(*words: str) -> str:
        monkeypatch.setattr("sys.argv", [f"{monai.bundle.__path__[0]}/__main__.py", "run", *words])
        with pytest.raises(Exception) as caught:
            fire.Fire({"run": monai_run}, command=["run", *words], name="monai.bundle")
        said = one_line(caught.value)
        assert said is not None, f"{words}: {caught.value!r}"
        line, code = said
        assert code == MISTAKE and line.startswith("error: ") and "\n" not in line
        return line.removeprefix("error: ")

    return go


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        ([*TRAIN, "--learing_rate", "0.1"], "--learing_rate", "did you mean learning_rate?"),
        ([*TRAIN, "--learing-rate=0.1"], "--learing_rate", "did you mean learning_rate?"),
        ([*INFER, "--dataset_dri", "x"], "--dataset_dri", "did you mean dataset_dir?"),
        ([*TRAIN, "--train#trainer#max_epoch", "3"], "--train#trainer#max_epoch", "did you mean max_epochs?"),
        ([*TRAIN, "--optimizer#lrr", "1"], "--optimizer#lrr", "torch.optim.Adam has no argument lrr, did you mean lr?"),
        ([*INFER, "--network_def::num_gate", "1"], "--network_def#num_gate", "did you mean num_gates?"),
        ([*INFER, "--displayable_configs#memory", "1"], "--displayable_configs#memory", "did you mean"),
        ([*TRAIN, "--overwrite", "true"], "--overwrite", "would have no effect"),
        (
            ["training", "--config_file", "['configs/train.json','configs/overlays/experiments/quickstart.json']", "--lr_step", "3"],
            "--lr_step",
            "no effect",
        ),
        (["trainig", *TRAIN[1:]], "trainig", "did you mean training?"),
        ([*INFER, "--dataset_dir", "my", "old", "scans"], "old", "between quotes"),
        ([*TRAIN, "--dataset_dir", "my", "scans"], "scans", "between quotes"),
        ([*TRAIN, "--max_epochs", "many"], "--max_epochs", "'many'"),
        ([*TRAIN, "--max_epochs", "-3"], "--max_epochs", "a whole number from 1 up"),
        ([*TRAIN, "--max_epochs", "None"], "--max_epochs", "None does not fit"),
        ([*TRAIN, "--max_epochs"], "--max_epochs", "no value after this key"),
        ([*TRAIN, "--learning_rate", "x"], "--learning_rate", "'x'"),
        ([*TRAIN, "--learning_rate", "1e999"], "--learning_rate", "a number above 0"),
        ([*TRAIN, "--patch_size", "5"], "--patch_size", "three whole numbers"),
        ([*TRAIN, "--unlisted_labels", "what"], "--unlisted_labels", "background, error"),
        ([*TRAIN, "--fold", "5"], "--fold", "use 0 to 4"),
        ([*TRAIN, "--labels", "nonsense"], "--labels", "a block such as"),
        ([*TRAIN, "--labels", "{liver: 1, background: 0}"], "labels", "put 'background' first"),
        ([*TRAIN, "--amp", "half"], "--amp", "auto, true or false"),
        ([*TRAIN, "--resume", "yes"], "--resume", "true or false"),
        ([*INFER, "--precision", "fp8"], "--precision", "auto, fp32, bf16, fp16"),
        ([*INFER, "--precision", "fp16", "--device", "cpu"], "--precision", "needs a GPU"),
        ([*INFER, "--overlap", "2"], "--overlap", "a number from 0 below 1"),
        ([*INFER, "--hu_range", "300,-200"], "--hu_range", "the lower one first"),
        ([*INFER, "--device", "gpu"], "--device", "cpu, cuda"),
        ([*INFER, "--device", "cuda:99"], "--device", "give c"),
        ([*INFER, "--threads", "$1 / 0"], "--threads", "division by zero"),
        ([*INFER, "--dataset_dir", ""], "--dataset_dir", "the name is empty"),
        ([*INFER, "--dataset_dir"], "--dataset_dir", "no value"),
        ([*INFER, "--dataset_dir", "@a"], "--dataset_dir", "write ./@a"),
        ([*INFER, "--output_dir", "$x"], "--output_dir", "write ./$x"),
    ],
    ids=lambda value: " ".join(value[3:] or value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_key_value_and_fix(typed: Any, words: list[str], key: str, said: str) -> None:
    line = typed(*words)
    assert line.startswith(f"{key}: ") and said in line and ("Fix: " in line)


@pytest.mark.parametrize("name", [*"2024 scans#1 a::b Doe,John [x] {x} (x) 1e5 None True 'x' x=1 ~x".split(), "a b", "./@a", "./%x"])
def test_a_folder_is_named_as_it_was_typed(typed: Any, name: str) -> None:
    """The search for scans names the folder that it did not find."""
    plain = name.strip("'").removeprefix("./")
    assert typed(*INFER, "--dataset_dir", name).startswith(f"{plain}: there is no such file or folder")


@pytest.mark.parametrize("name", ["@a", "$x", "scans#1", "~"])
def test_a_folder_that_exists_is_taken_whatever_its_name(typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    config = str(Path("configs/inference.json").resolve())
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    line = typed("inference", "--config_file", config, "--dataset_dir", name)
    assert line.startswith(f"{name}: ") and "no scan" in line


@pytest.mark.parametrize("key", ["--output_dir", "--ckpt_dir", "--cache_dir"])
def test_a_folder_that_cannot_be_written_to_is_named_at_once(typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below/it"):
        assert (
            typed(*TRAIN, key, str(tmp_path / name))
            == f"{key}: {tmp_path / 'file'} is not a folder. Fix: choose another name, or move that file."
        )
    # whatever the user of this test may do
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert typed(*TRAIN, key, str(tmp_path / "a" / "b")).startswith(f"{key}: nothing can be written to {tmp_path}.")


def test_names_in_a_config_file_keep_their_number_sign(typed: Any, tmp_path: Path) -> None:
    """MONAI writes `::` for `#` in every text of a config."""
    (tmp_path / "mine.json").write_text(json.dumps({"dataset_dir": "scans#1", "note": "scans of #1"}))
    configs = f"['configs/inference.json', '{tmp_path / 'mine.json'}']"
    assert typed("inference", "--config_file", configs).startswith("scans#1: ")


def test_a_slip_in_a_config_file_is_named_and_a_note_is_not(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"learning_rat": 1, "why": "a note"}))
    configs = f"['configs/train.json', '{tmp_path / 'mine.json'}']"
    line = typed("training", "--config_file", configs)
    assert line.startswith("learning_rat: nothing uses this key of your config, did you mean learning_rate?")


def test_switches_given_as_words_are_switches(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """fire gives `false` as a word, which would be true."""
    monkeypatch.chdir(repository)
    words = ["inference", "--config_file", "configs/inference.json", "--previews", "false", "--overwrite", "TRUE", "--spacing", "3,3,3"]
    monkeypatch.setattr("sys.argv", [f"{monai.bundle.__path__[0]}/__main__.py", "run", *words])
    workflow = monai.bundle.ConfigWorkflow("configs/inference.json", previews="false", overwrite="TRUE", spacing=(3, 3, 3))
    workflow.initialize()
    values = [workflow.parser.get_parsed_content(key) for key in ("previews", "overwrite", "spacing", "probabilities")]
    assert values == [False, True, [3, 3, 3], False]


def test_none_takes_back_what_an_overlay_sets(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """MONAI drops keys whose value is None: the overlay's 61 and 21 cases would stay, in a training that says otherwise."""
    monkeypatch.chdir(repository)
    configs = ["configs/train.json", "configs/overlays/experiments/ct82.json"]
    words = ["training", "--config_file", str(configs), "--num_folds", "5", "--train_size", "None", "--test_size", "None"]
    monkeypatch.setattr("sys.argv", [f"{monai.bundle.__path__[0]}/__main__.py", "run", *words])
    workflow = monai.bundle.ConfigWorkflow(configs, num_folds=5)
    workflow.initialize()
    split = workflow.parser.get_parsed_content("split")
    assert [split[key] for key in ("num_folds", "train_size", "test_size")] == [5, None, None]


def test_other_processes_have_no_command_line() -> None:
    """A server that uses this bundle has arguments of its own."""
    assert command_line.given(["/usr/bin/server", "run", "--learing_rate", "1"]) == command_line.CommandLine()
    values, words = command_line.split(["run", "--a", "-1", "--b=x=y", "-c", "--d#e", "f", "g"])
    assert values == {"a": "-1", "b": "x=y", "c": None, "d::e": "f"} and words == ["run", "g"]
