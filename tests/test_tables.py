"""`bundle.tables`: no cell is a formula, and every text comes back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.tables import original, plain, read_csv, read_table, write_csv

FORMULAS = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+cmd|x",
    "-cmd|x",
    "-2+3+cmd|x",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
    "-",
    "--5",
    "-5 mm",
    "'=1",
    "''@x",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_and_comes_back(text: str) -> None:
    assert plain(text).strip(" ").startswith("'")
    assert original(plain(text)) == text


@pytest.mark.parametrize("text", ["", "case", "-0.5", "+3", "-1e-05", "-inf", "-.5", "a=b", "x-y", "'quoted'", "1; -2.5; 3"])
def test_numbers_and_words_stay(text: str) -> None:
    assert plain(text) == text and original(text) == text


@pytest.mark.parametrize("number", [-3, -0.25, 7, True])
def test_values_that_are_no_text_stay(number: object) -> None:
    assert plain(number) is number


def test_a_cell_that_other_separators_would_split_holds_no_formula_either() -> None:
    assert plain("a;=cmd|x\t+y") == "a;'=cmd|x\t'+y"
    assert original("a;'=cmd|x\t'+y") == "a;=cmd|x\t+y"


def test_table_on_disk(tmp_path: Path) -> None:
    rows = [{"case": "=a", "dice": -0.5, "more": "left out"}, {"case": "M\udcfcller", "dice": None}, {"case": 'b,"c"\nd'}]
    path = write_csv(tmp_path / "new" / "table.csv", ["case", "dice"], rows)
    assert path.read_text(encoding="utf-8") == 'case,dice\n\'=a,-0.5\nM\\udcfcller,\n"b,""c""\nd",\n'
    with path.open(newline="", encoding="utf-8") as file:  # what every other reader sees
        assert [row["case"][0] for row in csv.DictReader(file)] == ["'", "M", "b"]
    assert read_csv(path) == [{"case": "=a", "dice": "-0.5"}, {"case": "M\\udcfcller", "dice": ""}, {"case": 'b,"c"\nd', "dice": ""}]
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"\xef\xbb\xbfcase,dice,error\r\na,0.5\r\n")
    assert read_csv(tmp_path / "table.csv") == [{"case": "a", "dice": "0.5", "error": ""}]


def test_every_table_is_written_here(repository: Path) -> None:
    """A table that another module writes by itself would not have the apostrophes."""
    modules = {file.relative_to(repository / "bundle"): file.read_text(encoding="utf-8") for file in (repository / "bundle").rglob("*.py")}
    assert [path for path, text in modules.items() if "csv.writer(" in text or "csv.DictWriter(" in text] == [Path("tables.py")]


def test_a_carriage_return_does_not_end_a_row(tmp_path: Path) -> None:
    rows = [{"case": "a\rb", "ml": 1}, {"case": "c\r\nd", "ml": 2}, {"case": "e", "ml": 3}]
    path = write_csv(tmp_path / "t.csv", ["case", "ml"], rows)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{name: str(value) for name, value in row.items()} for row in rows]
    assert [row["case"] for row in read_csv(path)] == ["a\rb", "c\r\nd", "e"]


def test_a_table_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("case;dice\na;0.5\n")
    with pytest.raises(UserError, match=r"t\.csv: has no column case; its first line begins with 'case;dice'. Fix: save it anew"):
        read_table(path, ("case", "dice"), "save it anew")
    path.write_text("case,dice\na,0.5\n")
    assert read_table(path, ("case", "dice"), "") == [{"case": "a", "dice": "0.5"}]
    path.write_bytes(b"case\n\xff\xfe\n")
    with pytest.raises(UserError, match=r"t\.csv: cannot be read as a table"):
        read_table(path, ("case",), "save it anew")
