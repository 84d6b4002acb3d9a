"""The config that MONAI evaluates: what refers to what, and the configs of this bundle by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from bundle.arguments.config import current, reached, read, references, shipped, shipped_names, shipped_path, strings, touches


def test_references_are_found_at_any_depth_and_not_in_descriptions() -> None:
    config = {"a": "@b", "list": ["$@c#d + len(@e)", {"_desc_": "see @not_this", "deep": ("@f::0",)}], "number": 3}
    assert references(config) == {"b", "c::d", "e", "f::0"}
    assert list(strings(config)) == ["@b", "$@c#d + len(@e)", "@f::0"]


def test_what_is_reached_is_followed_to_its_end() -> None:
    config = {"run": ["@a::x"], "a": {"x": "@b", "y": "$@c + @gone"}, "b": "@a", "c": 1, "d": "@e", "e": 2}
    assert reached(config, ["run"]) == {"run", "a::x", "a", "b", "c", "gone"}
    assert reached(config, ["d", "unknown"]) == {"d", "e", "unknown"}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a", "a", True), ("a", "a::b", True), ("a::b::c", "a", True), ("a::b", "a::c", False), ("train", "trainer", False)],
)
def test_ids_touch_where_one_is_inside_the_other(one: str, other: str, expected: bool) -> None:
    assert touches(one, other) is touches(other, one) is expected


def test_configs_are_known_by_name_wherever_they_are(repository: Path) -> None:
    configs = repository / "configs"
    assert shipped_path("train") == configs / "train.json"
    assert shipped_path("finetune") == configs / "overlays" / "train" / "finetune.json"
    assert shipped_path("nothing") == configs / "nothing.json" and shipped("nothing") == {}
    assert shipped_path("*") == configs / "*.json", "a name is no pattern"
    assert {"train", "inference", "metadata", "finetune"} <= set(shipped_names()) and shipped_names() == sorted(shipped_names())
    assert shipped("finetune") == json.loads(shipped_path("finetune").read_text(encoding="utf-8"))


def test_a_config_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"+list": [1], "path": "scans#1", "b": "%a"}', encoding="utf-8-sig")
    assert read(tmp_path / "a.json") == {"+list": [1], "path": "scans#1", "b": "%a"}
    (tmp_path / "c.json").write_text("[1]")
    assert read(tmp_path / "c.json") == {}


def test_the_parser_that_evaluates_an_expression_is_found() -> None:
    assert current() is None
    parser = ConfigParser({"imports": ["$from bundle.arguments.config import current"], "a": "$current()", "imported": "@imports"})
    assert parser.get_parsed_content("imported") and parser.get_parsed_content("a") is parser
