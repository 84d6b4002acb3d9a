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
    with pytest.raises(UserError, match=r"broken\.json.*not a readable JSON"):
        load_ranges(tmp_path / "broken.json")
    (tmp_path / "other.json").write_text(json.dumps({"labels": {}}))
    with pytest.raises(UserError, match="no 'structures' block"):
        load_ranges(tmp_path / "other.json")


def test_what_is_not_learned_is_the_literatures():
    known = usual("Left_Kidney", {"structures": {}})
    assert known["volume_ml"] == (60.0, 320.0) and known["pieces"] == 1
    assert "volume_ml" not in usual("tumour", None)
