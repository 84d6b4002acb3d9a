"""The wide and the long form of cases.csv, and the page of the docs that names every column."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.quality.cases import COLUMNS, CaseResult, case_rows, write_cases_csv
from bundle.quality.table_forms import OF_CASE, OF_STRUCTURE, table
from bundle.tables import write_csv


@pytest.fixture
def folder(tmp_path: Path, abdomen) -> Path:
    """One case with three structures, one with a single other structure, one that failed."""
    good = CaseResult(
        "good", "a.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, abdomen.structures, confidence={"spleen": (0.9, 0.5)}
    )
    other = CaseResult("=other", "b.nii.gz", abdomen.image, abdomen.labels, abdomen.affine, {"liver": 1})
    for result in (good, other, CaseResult("failed", "c.nii.gz", error="is empty")):
        write_cases_csv(tmp_path, case_rows(result))
    return tmp_path


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_column_is_about_the_case_or_a_structure():
    assert sorted((*OF_CASE, "structure", *OF_STRUCTURE)) == sorted(COLUMNS)


def test_wide_has_a_row_per_case(folder, capsys):
    table(folder, wide=True)
    assert capsys.readouterr().out.strip() == str(folder / "cases_wide.csv") and not (folder / "cases_long.csv").exists()
    other, failed, good = read(folder / "cases_wide.csv")
    assert [row["case"] for row in (other, failed, good)] == ["'=other", "failed", "good"]
    assert list(good) == [
        *OF_CASE,
        *(f"{name}_{measure}" for name in ("liver", "pancreas", "spleen", "kidney") for measure in OF_STRUCTURE),
    ]
    assert (good["spleen_volume_ml"], good["spleen_mean_hu"], good["spleen_confidence_mean"], good["liver_volume_ml"]) == (
        "35.0",
        "110.0",
        "0.9",
        "",
    )
    assert (other["liver_volume_ml"], other["spleen_volume_ml"], failed["error"], failed["liver_volume_ml"]) == ("12.8", "", "is empty", "")


def test_long_has_a_row_per_value(folder):
    table(folder, long=True)
    rows = read(folder / "cases_long.csv")
    assert list(rows[0]) == ["case", "structure", "measure", "value"]
    found = {(row["case"], row["structure"], row["measure"]): row["value"] for row in rows}
    assert len(found) == len(rows), "each once"
    assert found["good", "spleen", "volume_ml"] == "35.0" and found["good", "kidney", "components"] == "2"
    assert ("good", "kidney", "confidence_mean") not in found and not any(case == "failed" for case, _, _ in found)


def test_both_without_a_choice_and_one_into_a_file_of_its_own(folder, tmp_path):
    table(folder)
    assert read(folder / "cases_wide.csv") and read(folder / "cases_long.csv")
    table(folder, long=True, out=str(tmp_path / "mine.csv"))
    assert (tmp_path / "mine.csv").read_bytes() == (folder / "cases_long.csv").read_bytes()
    with pytest.raises(UserError, match="cannot hold both"):
        table(folder, out=str(tmp_path / "mine.csv"))
    with pytest.raises(UserError, match=r"no cases\.csv"):
        table(tmp_path / "elsewhere")


def test_a_table_of_an_earlier_version_lacks_columns(folder):
    rows = read(folder / "cases.csv")
    write_csv(folder / "cases.csv", [name for name in COLUMNS if name not in ("left_out_ml", "score")], rows)
    table(folder)
    wide = {row["case"]: row for row in read(folder / "cases_wide.csv")}["good"]
    assert wide["score"] == wide["spleen_left_out_ml"] == "" and wide["spleen_volume_ml"] != ""
    assert "left_out_ml" not in {row["measure"] for row in read(folder / "cases_long.csv")}


def test_a_table_that_a_spreadsheet_saved_with_other_separators_is_refused(folder):
    table(folder, wide=True)
    before = (folder / "cases_wide.csv").read_bytes()
    text = (folder / "cases.csv").read_text(encoding="utf-8")
    (folder / "cases.csv").write_text(text.replace(",", ";"), encoding="utf-8")
    with pytest.raises(UserError, match=r"cases\.csv: has no column case; its first line begins with 'case;"):
        table(folder, wide=True)
    assert (folder / "cases_wide.csv").read_bytes() == before


def test_from_the_command_line(folder, repository):
    run = subprocess.run([sys.executable, "-m", "bundle", "table", str(folder), "--wide"], cwd=repository, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "") and run.stdout.strip() == str(folder / "cases_wide.csv")


def test_the_docs_name_every_column_in_its_order(repository):
    text = (repository / "docs" / "tables.md").read_text(encoding="utf-8").split("## cases.csv")[1].split("\n## ")[0]
    named = [name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert tuple(named) == COLUMNS
