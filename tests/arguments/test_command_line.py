"""Words of a command line, taken apart as fire does."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_lines import argv

from bundle.arguments import command_line
from bundle.arguments.command_line import given


def test_other_processes_have_no_command_line() -> None:
    """A server that uses this bundle has arguments of its own."""
    assert command_line.given(["/usr/bin/server", "run", "--learing_rate", "1"]) == command_line.CommandLine()
    values, words = command_line.split(["run", "--a", "-1", "--b=x=y", "-c", "--d#e", "f", "g"])
    assert values == {"a": "-1", "b": "x=y", "c": None, "d::e": "f"} and words == ["run", "g"]


def test_keys_are_what_belongs_to_the_config_and_are_shown_as_a_person_knows_them(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text('{"config_file": "mine.json", "lr": 1, "train#trainer": 2}')
    line = given(argv("training", "--args_file", str(tmp_path / "args.json"), "--tracking=x", "--optimizer#lr", "3", "--device", "cpu"))
    assert line.keys == ["optimizer::lr", "device", "lr", "train::trainer"]
    assert line.shown("optimizer::lr") == "--optimizer#lr" and line.shown("train::trainer") == "train#trainer"
    assert line.words == ("training",) and line.files == ["mine.json"]
    # what is typed counts before the file of arguments
    assert given(argv("--config_file", "['a.json','b.json']", "--args_file", str(tmp_path / "args.json"))).files == ["a.json", "b.json"]
    assert command_line.CommandLine().files == [] and given(argv("--config_file", "1e5")).files == ["1e5"]


@pytest.mark.parametrize(
    ("word", "expected"), [("--a", True), ("-a", True), ("-A1", True), ("-1", False), ("-.5", False), ("a", False), ("-", False)]
)
def test_negative_numbers_are_values(word: str, expected: bool) -> None:
    assert command_line.is_flag(word) is expected


def test_the_same_in_dashes_and_underscores_and_the_last_one_counts() -> None:
    assert command_line.split(["--output-dir", "a", "--output_dir=b"]) == ({"output_dir": "b"}, [])
    assert command_line.split(["--a", "--b"]) == ({"a": None, "b": None}, [])
