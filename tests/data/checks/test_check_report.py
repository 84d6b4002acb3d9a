"""Figures over all cases of a data set, from rows written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bundle.data.checks.check import Measured
from bundle.data.checks.check_report import summarise, write_findings, write_report
from bundle.data.checks.rules import Problem
from bundle.data.datalist import Case, Listing

LABELS = {"background": 0, "pancreas": 1}


def row(spacing: float | None, ml: float | None, label: str = "l") -> dict:
    sizes = {f"{what}_{axis}": spacing for what in ("spacing", "extent", "size") for axis in "xyz"}
    return {**sizes, "hu_p0.5": -1000, "hu_median": spacing, "hu_p99.5": None, "pancreas_ml": ml, "label": label}


def test_minimum_median_and_maximum_of_what_is_there() -> None:
    found = [Problem("error", "c", "", "", "", ""), Problem("warning", "c", "", "", "", "")]
    summary = summarise([row(1.0, 5.0), row(2.0, None), row(4.0, 7.0), row(None, 0.0, "")], LABELS, found)
    assert [summary[key] for key in ("cases", "labelled", "errors", "warnings")] == [4, 3, 1, 1]
    assert summary["spacing_mm"]["z"] == summary["hu"]["hu_median"] == {"min": 1.0, "median": 2.0, "max": 4.0}
    assert summary["hu"]["hu_p99.5"] == {"min": None, "median": None, "max": None}
    # a volume of 0 is a structure that is not there
    assert summary["volume_ml"] == {"pancreas": {"n": 2, "min": 5.0, "median": 6.0, "max": 7.0}}


def test_one_case_of_which_nothing_is_known_is_written_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    listing = Listing("set")
    listing.cases = [Case("a", "a.nii")]
    write_findings([Problem("error", "c", "a", "a.nii", "cut off", "copy it")], tmp_path)
    write_report(Measured(listing, {"a": {"error": "cut off"}}, {}), [], LABELS, tmp_path)
    said = capsys.readouterr().out
    assert said.startswith("1 case, 0 with labels: 0 errors, 0 warnings\n") and "in 0 of 0 cases" in said
    assert said.endswith(f"written: {tmp_path}/findings.csv, cases.csv, summary.json\n")
    with open(tmp_path / "findings.csv", newline="") as file:
        assert list(csv.reader(file))[1] == ["error", "c", "a", "a.nii", "cut off", "copy it"]
    with open(tmp_path / "cases.csv", newline="") as file:
        (only,) = csv.DictReader(file)
    assert (only["case"], only["spacing_x"], only["findings"]) == ("a", "", "0")
    assert json.loads((tmp_path / "summary.json").read_text())["size"]["x"]["median"] is None
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        write_report(Measured(listing, {"a": {"error": "cut off"}}, {}), [], LABELS, tmp_path / "file" / "x")
    assert "1 case, 0 with labels" in capsys.readouterr().out, "the summary is said before anything is written"
