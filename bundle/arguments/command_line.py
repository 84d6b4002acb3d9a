"""The words of `python -m monai.bundle run ...` as they were typed, before fire makes numbers, tuples and comments of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# what `monai.bundle.run` takes itself, the first three also without their names, in this order; everything else is a key of the config
MONAI_FLAGS = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")
# what it hands on to the workflow, and what its tracking adds to the config
WORKFLOW_FLAGS = ("workflow_type", "properties_path")
TRACKING_KEYS = ("tracking_uri", "experiment_name", "run_name", "save_execute_config", "is_not_rank0")


@dataclass(frozen=True)
class CommandLine:
    """A command line: `values`, key to the text typed for it (None where there is none); `words`, what belongs to no key."""

    values: dict[str, str | None] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)  # of the file given as --args_file
    again: tuple[tuple[str, str | None, str | None], ...] = ()  # keys typed twice, with both of their texts

    @property
    def keys(self) -> list[str]:
        """Keys of the config that were given, as MONAI names them (`::` between levels)."""
        given = [*self.values, *(normal(key) for key in self.arguments)]
        return [key for key in dict.fromkeys(given) if key not in (*MONAI_FLAGS, *WORKFLOW_FLAGS)]

    @property
    def files(self) -> list[str]:
        """The config files, in their order."""
        typed = self.values.get("config_file")
        found = self.arguments.get("config_file") if typed is None else _parsed(typed)
        if isinstance(found, (list, tuple)):
            return [str(item) for item in found]
        return [] if found is None else [str(found if typed is None else typed)]

    def shown(self, key: str) -> str:
        """A key as a person knows it: with its dashes where it was typed."""
        return f"--{key.replace('::', '#')}" if key in self.values else key.replace("::", "#")


def of_monai(argv: Sequence[str] | None = None) -> bool:
    """Whether this process is `python -m monai.bundle ...`."""
    argv = sys.argv if argv is None else argv
    return bool(argv) and Path(argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py")


def given(argv: Sequence[str] | None = None) -> CommandLine:
    """What was typed after `python -m monai.bundle run`; nothing in a process that was started in another way."""
    argv = list(sys.argv if argv is None else argv)
    if not of_monai(argv) or argv[1:2] != ["run"]:
        return CommandLine()
    again: list[tuple[str, str | None, str | None]] = []
    values, words = split(argv[2:], again)
    return CommandLine(values, tuple(words), _arguments(values.get("args_file")), tuple(again))


def split(argv: Sequence[str], again: list[tuple[str, str | None, str | None]] | None = None) -> tuple[dict[str, str | None], list[str]]:
    """Keys with the text of their values (None without one), and the other words, as fire takes them apart.

    Args:
        argv: what was typed.
        again: gets the keys that are there more than once, with the value before and the one that counts, the last.
    """
    values: dict[str, str | None] = {}
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not is_flag(word):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        key = normal(name.lstrip("-").replace("-", "_"))
        found = value if equals else rest.pop(0) if rest and not is_flag(rest[0]) else None
        if again is not None and key in values:
            again.append((key, values[key], found))
        values[key] = found
    return values, words


def is_flag(word: str) -> bool:
    """Whether fire takes a word for the name of an argument: `--x`, `-x`; negative numbers are values."""
    return word.startswith("--") or re.match(r"-[a-zA-Z]", word) is not None


def file_like(key: str) -> str | None:
    """The file or folder whose name begins with a dash, so that it was taken for this key; None where there is none."""
    return next((name for name in (f"-{key}", f"-{key.replace('_', '-')}") if os.path.lexists(name)), None)


def normal(key: str) -> str:
    """A key as MONAI writes it, `::` between levels."""
    return str(key).replace("#", "::")


def _arguments(path: str | None) -> dict[str, Any]:
    from monai.bundle import ConfigParser

    return {} if path is None else dict(ConfigParser.load_config_file(path))


def _parsed(text: str) -> Any:
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)
