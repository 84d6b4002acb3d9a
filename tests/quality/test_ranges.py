"""What is usual: the literature's, or a file's; files that are none."""

from __future__ import annotations

import json

import pytest

from bundle.errors import UserError
from bundle.quality.ranges import load_ranges, usual


def test_files_that_are_no_ranges_are_refused_by_name(tmp_path):
    assert load_ranges(None) is None and load_ranges("") is None
    with pytest.raises(UserError, match="no such file"):
        load_ranges(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json.*is not valid JSON"):
        load_ranges(tmp_path / "broken.json")
    (tmp_path / "other.json").write_text(json.dumps({"labels": {}}))
    with pytest.raises(UserError, match="no 'structures' block"):
        load_ranges(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"spleen": {"volume_ml": "50-600"}}, 'spleen, volume_ml is a text ("50-600")'),
        ({"spleen": {"volume_ml": [50]}}, "spleen, volume_ml is [50]"),
        ({"spleen": {"volume_ml": {"low": 5, "high": 9}}}, "spleen, volume_ml is an object"),
        ({"spleen": {"mean_hu": [90, 40]}}, "spleen, mean_hu is [90, 40]"),
        ({"spleen": {"pieces": 0}}, "spleen, pieces is a number (0)"),
        ({"spleen": 5}, "spleen is a number (5)"),
        ({"spleen": [600, 50]}, "spleen is [600, 50]"),
    ],
)
def test_a_value_that_cannot_be_a_range_is_named(tmp_path, content, named):
    (tmp_path / "r.json").write_text(json.dumps({"structures": content}))
    with pytest.raises(UserError) as error:
        load_ranges(tmp_path / "r.json")
    assert "r.json" in str(error.value) and named in str(error.value)


@pytest.mark.parametrize(
    "offsets", [[1], {"spleen": [1]}, {"spleen": {"liver": [[1, 2]]}}, {"spleen": {"liver": [[1, 2], [3, 4], [6, 5]]}}]
)
def test_offsets_are_three_pairs_of_numbers(tmp_path, offsets):
    (tmp_path / "r.json").write_text(json.dumps({"structures": {}, "offsets_mm": offsets}))
    with pytest.raises(UserError, match=r"r\.json.*offsets_mm"):
        load_ranges(tmp_path / "r.json")


def test_what_is_well_formed_is_taken_as_it_is(tmp_path):
    node = {"cases": 9, "volume_ml": [0.0031, 379.2], "pieces": 2}
    content = {"cases": 9, "structures": {"node": node, "spleen": [50, 600], "cyst": [0.01, 0.01]}}
    content["offsets_mm"] = {"spleen": {"liver": [[-280, -60.5], [-9, 9], [0, 1]]}}
    (tmp_path / "r.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert load_ranges(tmp_path / "r.json", {"background": 0, "spleen": 1}) == content
    with pytest.raises(UserError, match=r"r\.json: it is about node, spleen, cyst, and the labels are Spleen"):
        load_ranges(tmp_path / "r.json", {"background": 0, "Spleen": 1})
    assert load_ranges(tmp_path / "r.json") == content and usual("spleen", content)["volume_ml"] == (50, 600)


def test_what_is_not_learned_is_the_literatures():
    known = usual("Left_Kidney", {"structures": {}})
    assert known["volume_ml"] == (60.0, 320.0) and known["pieces"] == 1
    assert "volume_ml" not in usual("tumour", None)
