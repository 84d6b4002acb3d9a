"""What a user's own configs put in the place of the steps of inference.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from bundle.arguments.config import shipped_path
from bundle.arguments.replaced import own_steps


def steps(*overlays: str | dict[str, Any], **keys: Any) -> dict[str, Any] | None:
    """`own_steps` of inference.json with overlays of this bundle by name, or with what others hold, and keys over them."""
    files = [shipped_path(name) for name in ("inference", *(one for one in overlays if isinstance(one, str)))]
    parser = ConfigParser(ConfigParser.load_config_files([str(file) for file in files]))
    for key, value in {**{key: one for content in overlays if isinstance(content, dict) for key, one in content.items()}, **keys}.items():
        parser[key.replace("__", "::")] = value
    parser["said"] = "$bundle.arguments.replaced.own_steps()"
    parser.parse(True)
    parser.get_parsed_content("imports")
    return parser.get_parsed_content("said")


def test_outside_of_a_config_there_are_none() -> None:
    assert own_steps() is None


@pytest.mark.parametrize("overlays", [(), ("cascade",), ("cascade", "cascade_box"), ("inference_openvino",), ("zooms", "crf"), ("fast",)])
def test_the_configs_of_this_bundle_are_no_ones_own(overlays: tuple[str, ...]) -> None:
    assert steps(*overlays) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spacing", [3, 3, 3]),
        ("labels", {"background": 0, "liver": 1}),
        ("keep_pieces", {}),
        ("memory_gb", 1.0),
        ("device", "cpu"),
        ("ckpt_path", "other.pt"),
        ("usual_pieces", {"liver": 1}),
        ("network_def__channels", [4, 8]),
        ("handlers", []),
    ],
)
def test_what_is_recorded_otherwise_or_changes_nothing_is_left_out(key: str, value: Any) -> None:
    assert steps(**{key: value}) is None


def test_a_nested_key_shows_the_part_that_it_is_in() -> None:
    assert steps(crop__margin=30) == {
        "crop": {"_target_": "bundle.transforms.CropBodyd", "keys": "image", "source_key": "image", "margin": 30}
    }
    assert steps(inferer__flips=True).keys() == {"inferer"}
    assert steps("cascade", crop_organs__pieces=0.5).keys() == {"crop_organs"}


def test_of_the_engine_all_counts_but_what_looks_on() -> None:
    assert steps(evaluator__key_val_metric={"a": 1}) is None and steps(evaluator__val_handlers=[]) is None
    assert steps(evaluator__flips=True)["evaluator"]["flips"] is True


def test_keys_of_ones_own_are_followed() -> None:
    own = {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@roi_size", "overlap": "@mine"}, "mine": 0.5, "unused": 3}
    assert steps(own) == {"inferer": own["inferer"], "mine": 0.5}
    assert steps({**own, "mine": 0.25}) != steps(own)
    assert "mine" not in steps({**own, "record": {"settings": {"mine": "@mine"}}})


def test_what_python_hands_over_is_told_by_its_class() -> None:
    assert steps(inferer=Path("x"))["inferer"] in ("PosixPath", "WindowsPath")
