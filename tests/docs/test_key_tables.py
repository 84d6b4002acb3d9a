"""Tables of keys in the docs list exactly the keys that users may change, with the defaults of the configs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from docs_text import spans, table

import bundle
from bundle.arguments.config import shipped
from bundle.arguments.front import COMPONENTS
from bundle.arguments.paths import NEEDED, OPTIONAL
from bundle.arguments.values import KINDS

ROOT = Path(bundle.root())
TABLES = {"train": ("training.md", "Keys"), "inference": ("inference.md", "Options")}
USERS = {*KINDS, *NEEDED, *OPTIONAL, *COMPONENTS} - {"bundle_root"}


def expected(name: str) -> dict[str, Any]:
    """Key to default, as a page writes it: paths below the bundle, the class of a component; None for what a machine decides."""
    found: dict[str, Any] = {}
    for key, value in shipped(name).items():
        if key not in USERS:
            continue
        if isinstance(value, str) and value.startswith("$@bundle_root + '/"):
            value = value.removeprefix("$@bundle_root + '/").removesuffix("'")
        elif isinstance(value, dict) and "_target_" in value:
            value = value["_target_"].rsplit(".", 1)[-1]
        found[key] = value
    return found


def differences(rows: list[list[str]], config: dict[str, Any]) -> list[str]:
    """What a table (key, default, meaning) says otherwise than a config."""
    said: dict[str, Any] = {}
    problems = []
    for row in rows:
        keys, defaults = re.findall(r"`([^`]+)`", row[0]), re.findall(r"`([^`]+)`", row[1])
        if len(keys) != len(defaults) and not (len(keys) == 1 and not defaults):
            problems.append(f"{row[0]}: {len(keys)} keys and {len(defaults)} defaults between backticks")
        problems += [f"{key}: twice" for key in keys if key in said]
        said.update(dict.fromkeys(keys, ...), **dict(zip(keys, map(_value, defaults), strict=False)))
    problems += [f"{key}: not in the table" for key in config if key not in said]
    problems += [f"{key}: not a key of the config" for key in said if key not in config]
    for key in set(said) & set(config):
        decided = isinstance(config[key], str) and config[key].startswith("$")
        if not decided and said[key] != config[key]:
            problems.append(f"{key}: the table says {said[key]!r}, the config {config[key]!r}")
    return sorted(problems)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@pytest.mark.parametrize("name", sorted(TABLES))
def test_table_and_config_agree(name: str) -> None:
    page, heading = TABLES[name]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert differences(table(text, heading), expected(name)) == []


@pytest.mark.parametrize("key", sorted(USERS))
def test_every_key_is_explained_somewhere(key: str) -> None:
    """Those of overlays as well."""
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
    assert any(re.search(rf"(^|\W){key}(\W|$)", span) for span in spans(texts))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("| `a` | `2` | x |", "a: the table says 2, the config 1"),
        ("| `a`, `b` | `1`, `true` | x |\n| `c` | `0` | x |", "c: not a key of the config"),
        ("| `b` | `true` | x |", "a: not in the table"),
        ("| `a`, `b` | `1` | x |", "`a`, `b`: 2 keys and 1 defaults between backticks"),
        ("| `a` | `1` | x |\n| `a` | `1` | x |", "a: twice"),
    ],
)
def test_planted_errors_are_found(row: str, problem: str) -> None:
    text = f"## Keys\n\n| key | default | meaning |\n| --- | --- | --- |\n{row}\n\nmore"
    found = differences(table(text, "Keys"), {"a": 1, "b": True})
    assert problem in found
    assert differences([["`a`, `b`", "`1`, `true`", ""]], {"a": 1, "b": True}) == []
