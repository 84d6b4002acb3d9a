"""Command lines as a person types them, and configs merged as MONAI merges them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import fire
import monai.bundle
import pytest
from monai.bundle import ConfigParser
from monai.bundle.scripts import run as monai_run

from bundle.__main__ import main
from bundle.arguments import overlays
from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import shipped_path
from bundle.arguments.mistakes import MISTAKE, one_line

TRAIN, INFER = ["training", "--config_file", "configs/train.json"], ["inference", "--config_file", "configs/inference.json"]


def argv(*words: str) -> list[str]:
    """`sys.argv` of `python -m monai.bundle run WORDS`."""
    return [f"{monai.bundle.__path__[0]}/__main__.py", "run", *words]


def shown(words: object) -> str:
    """The name of a test whose parameter is a command line: its words behind the config."""
    return " ".join(words[3:] or words) if isinstance(words, list) else ""


def merged(*names: str) -> ConfigParser:
    """Configs of this bundle by name, one on the other; refused where they do not combine."""
    files = [str(shipped_path(name)) for name in names]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    overlays.check(parser, CommandLine({"config_file": json.dumps(files)}))
    return parser


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, repository: Path) -> Callable[..., str]:
    """`typed(*words)` runs `python -m monai.bundle run WORDS` in this process; gives the error's line."""
    monkeypatch.chdir(repository)

    def go(*words: str) -> str:
        monkeypatch.setattr("sys.argv", argv(*words))
        with pytest.raises(Exception) as caught:
            fire.Fire({"run": monai_run}, command=["run", *words], name="monai.bundle")
        said = one_line(caught.value)
        assert said is not None, f"{words}: {caught.value!r}"
        line, code = said
        assert code == MISTAKE and line.startswith("error: ") and "\n" not in line
        return line.removeprefix("error: ")

    return go


@pytest.fixture
def refused(typed: Callable[..., str]) -> Callable[[list[str], str, str], None]:
    """`refused(words, key, said)`: the error's line begins with the key, says this, and has a fix."""

    def check(words: list[str], key: str, said: str) -> None:
        line = typed(*words)
        assert line.startswith(f"{key}: ") and said in line and "Fix: " in line

    return check


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """`verb(*words)` is what `python -m bundle WORDS` writes in an empty folder when it ends with exit code 2."""
    monkeypatch.chdir(tmp_path)
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "reconfigure", lambda **_: None, raising=False)

    def go(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["bundle", *words])
        assert main() == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0].removeprefix("error: ")

    return go
