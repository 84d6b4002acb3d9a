"""The config that MONAI is evaluating: what is in it, and what uses what."""

from __future__ import annotations

import glob
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

import bundle

SEPARATOR = ReferenceResolver.sep
# used by MONAI or by whoever starts a run, without a reference in the config
ENTRIES = ("imports", "overlays", "initialize", "run", "training", "inference", "finalize", "bundle_root", "_meta_")


def current() -> ConfigParser | None:
    """The parser that is evaluating the expression from which this is called; MONAI hands it to no expression."""
    frame = inspect.currentframe()
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, ConfigParser):
            return found
        frame = frame.f_back
    return None


def config_of(parser: ConfigParser) -> dict[str, Any]:
    """The keys of a config; MONAI's annotation of them is that of a single item."""
    return cast(dict[str, Any], parser.config)


def references(config: Any) -> set[str]:
    """Ids that anything in a config refers to, such as `train::dataset`."""
    found: set[str] = set()
    for text in strings(config):
        found.update(ReferenceResolver.match_refs_pattern(text))
    return found


def reached(config: Mapping[str, Any], starts: Iterable[str]) -> set[str]:
    """Ids that are used where only these keys of a config are evaluated: what they refer to, what that refers to, and so on.

    A key that is referred to in part is followed as a whole.
    """
    found, todo = set(starts), list(starts)
    while todo:
        top = todo.pop().split(SEPARATOR)[0]
        new = references(config.get(top)) - found
        found |= new
        todo += new
    return found


def strings(config: Any) -> Iterator[str]:
    """Every string in a config; descriptions are not looked at."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for key, value in config.items():
            if key != "_desc_":
                yield from strings(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from strings(value)


def touches(one: str, other: str) -> bool:
    """Whether two ids are the same, or one is inside the other."""
    return one == other or one.startswith(other + SEPARATOR) or other.startswith(one + SEPARATOR)


@cache
def shipped(name: str) -> dict[str, Any]:
    """A config of this bundle by its name, `::` between levels of its keys; empty where there is none."""
    path = shipped_path(name)
    return read(path) if path.is_file() else {}


def shipped_path(name: str) -> Path:
    """Where the config of this name is: `configs/NAME.json`, or among the overlays below it; the former where there is none."""
    configs = Path(bundle.root()) / "configs"
    return next(configs.glob(f"overlays/*/{glob.escape(name)}.json"), configs / f"{name}.json")


def combined(names: Iterable[str]) -> ConfigParser:
    """The configs of this bundle of these names, one over the other, nothing of them evaluated; names of others are left out."""
    files = [str(path) for name in names if (path := shipped_path(name)).is_file()]
    return ConfigParser(ConfigParser.load_config_files(files))


def is_other(value: Any, usual: Any) -> bool:
    """Whether two values of a config differ; an object that was handed over in Python is told by its class."""
    return as_json(value) != as_json(usual)


def as_json(value: Any) -> str:
    """A value of a config as JSON."""
    return json.dumps(value, sort_keys=True, default=lambda thing: type(thing).__qualname__)


def shipped_names() -> list[str]:
    """Names of the configs of this bundle."""
    configs = Path(bundle.root()) / "configs"
    return sorted(path.stem for path in (*configs.glob("*.json"), *configs.glob("overlays/*/*.json")))


def read(path: str | Path) -> dict[str, Any]:
    """A config file as it is written; no list or macro of it is merged."""
    if not str(path).lower().endswith(".json"):
        return dict(ConfigParser.load_config_file(path))
    content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    return content if isinstance(content, dict) else {}
