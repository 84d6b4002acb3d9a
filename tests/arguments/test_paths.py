"""Names of files and folders: as they were typed, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_lines import INFER, TRAIN, shown
from monai.bundle import ConfigParser

from bundle.arguments.command_line import CommandLine
from bundle.arguments.paths import expanded, take, unquoted
from bundle.errors import UserError


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        ([*INFER, "--dataset_dir", ""], "--dataset_dir", "the name is empty"),
        ([*INFER, "--dataset_dir"], "--dataset_dir", "no value"),
        ([*INFER, "--dataset_dir", "@a"], "--dataset_dir", "write ./@a"),
        ([*INFER, "--output_dir", "$x"], "--output_dir", "write ./$x"),
    ],
    ids=shown,
)
def test_what_is_no_name_of_a_folder_is_named(refused: Any, words: list[str], key: str, said: str) -> None:
    refused(words, key, said)


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


def test_quotes_within_quotes_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert unquoted("'my scans'", "--x") == "my scans" and unquoted('"a\\tb"', "--x") == "a\tb"
    assert unquoted("'it's'", "--x") == "'it's'" and unquoted("'", "--x") == "'"
    assert expanded("~/scans", "--x") == "/home/me/scans"
    (tmp_path / "'q'").touch()
    (tmp_path / "~").mkdir()
    assert unquoted("'q'", "--x") == "'q'" and [expanded(name, "--x") for name in ("~", "./~")] == ["~", "./~"], (
        "what is there under this very name"
    )
    for empty in ("", " "):
        with pytest.raises(UserError, match="--x: the name is empty"):
            expanded(empty, "--x")
    with pytest.raises(UserError, match="--x: there is no value after this key"):
        unquoted(None, "--x")


def test_several_weights_are_names_one_by_one(tmp_path: Path) -> None:
    config = {"ckpt_path": ["a#1.pt", "@other"], "other": "b.pt", "output_dir": 2024, "cache_dir": "None"}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    parser = ConfigParser(ConfigParser.load_config_file(tmp_path / "mine.json"))
    take(parser, CommandLine({"config_file": str(tmp_path / "mine.json")}))
    resolved = parser.ref_resolver.resolved_content
    assert resolved["ckpt_path"] == ["a#1.pt", "b.pt"] and resolved["output_dir"] == "2024" and resolved["cache_dir"] is None
    with pytest.raises(UserError, match="ckpt_path: the list is empty"):
        take(ConfigParser({"ckpt_path": []}), CommandLine())
    with pytest.raises(UserError, match=r"output_dir: 2\.5 is not the name of a file or folder"):
        take(ConfigParser({"output_dir": 2.5}), CommandLine())


def test_the_zoo_s_datalist_may_be_the_cases_themselves(tmp_path: Path) -> None:
    """`"datalist": "$sorted(glob.glob(...))"`, as inference.json of the model zoo's bundles has it; train.json's is a file."""
    config = {"imports": ["$import glob"], "dataset_dir": str(tmp_path), "datalist": "$sorted(glob.glob(@dataset_dir + '/*'))"}
    parser = ConfigParser(config)
    for name in ("b.nii", "a.nii"):
        (tmp_path / name).touch()
    parser.parse()
    take(parser, CommandLine())
    assert parser.get_parsed_content("datalist") == [str(tmp_path / "a.nii"), str(tmp_path / "b.nii")]


def test_a_folder_given_twice_is_named_and_the_same_one_is_not(typed: Any, tmp_path: Path) -> None:
    line = typed(*INFER, "--dataset_dir", "a", "--dataset_dir", "b")
    assert line == "--dataset_dir: it is given twice, as a and as b. Fix: give it once; two folders are two runs."
    (tmp_path / "empty").mkdir()
    same = ["--dataset_dir", str(tmp_path / "empty")]
    assert "no scan is in this folder" in typed(*INFER, *same, *same, "--threads", "1", "--threads", "2")


def test_a_folder_that_begins_with_a_dash(typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ["inference", "--config_file", str(Path("configs/inference.json").resolve())]
    (tmp_path / "-my-scans").mkdir()
    monkeypatch.chdir(tmp_path)
    line = typed(*config, "--dataset_dir", "-my-scans")
    assert line == "--my_scans: this config has no such key. Fix: for the file or folder of this name write ./-my-scans."
    for words in (["--dataset_dir=-my-scans"], ["--dataset_dir", "./-my-scans"]):
        assert "no scan is in this folder" in typed(*config, *words)
