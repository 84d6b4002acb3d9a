"""Verb `merge`: tables of what is there, what is missing, and the exit code. Parts that run: tests/engines/test_sharing.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from light_evaluator import evaluator, scan

from bundle.errors import UserError
from bundle.handlers.inference.merge import merge


def results(folder: Path, *names: str) -> Path:
    for name in names:
        scan(folder / "data" / f"{name}.nii")
    evaluator(folder / "data", folder / "out").run()
    return folder / "out"


def cases(out: Path) -> list[str]:
    return [case["case"] for case in json.loads((out / "run.json").read_text())["cases"]]


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results of inference in this folder"):
        merge(tmp_path)


def test_a_classifiers_table_needs_none(tmp_path: Path) -> None:
    (tmp_path / ".records").mkdir()
    (tmp_path / ".records" / ".plan_of_2.json").write_text("{}")
    (tmp_path / "classes.csv").write_text("case\n")
    with pytest.raises(UserError, match="nothing to merge"):
        merge(tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_tables_and_page_are_made_again_of_the_records(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = results(tmp_path, "a", "b")
    before = json.loads((out / "run.json").read_text())
    (out / "cases.csv").unlink()
    assert merge(str(out)) == 0
    assert "2 written, 0 failed" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text()) == before and (out / "cases.csv").is_file() and (out / "index.html").is_file()


def test_settings_are_the_last_cases_where_run_json_is_gone(tmp_path: Path) -> None:
    out = results(tmp_path, "a")
    settings = json.loads((out / ".records" / "a.json").read_text())["settings"]
    (out / "run.json").unlink()
    assert merge(out) == 0
    content = json.loads((out / "run.json").read_text())
    assert content["settings"] == settings and content["started"] is None and content["finished"]


def test_a_failed_case_gives_1_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    out = results(tmp_path, "a", "b", "c")
    (out / "b_seg.nii.gz").unlink()
    assert merge(out) == 0 and cases(out) == ["a", "c"]
    (tmp_path / "data" / "c.nii").write_bytes(b"")
    evaluator(tmp_path / "data", out).run()
    assert merge(out) == 1
    # where the scans are not to be seen, nothing says that the one that failed is gone
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert merge(out) == 1 and cases(out) == ["a", "b", "c"]
