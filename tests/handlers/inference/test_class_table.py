"""The table of a classifier: rows, doubts, and rows of earlier runs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.case import Case
from bundle.errors import UserError
from bundle.files import locked
from bundle.handlers.inference.class_table import ClassTable
from bundle.tables import read_csv


def a_case(name: str, probabilities: list[float]) -> Case:
    affine = torch.eye(4, dtype=torch.float64)
    image = MetaTensor(torch.zeros(1, 8, 8, 8), affine=affine, meta={"original_affine": affine, "spatial_shape": np.array([8, 8, 8])})
    case = Case({"case": name, "source": f"{name}.nii.gz", "image": f"{name}.nii.gz"}, {"image": image})
    case.data["pred"], case.scan = MetaTensor(torch.tensor(probabilities)), MetaTensor(torch.zeros(8, 8, 8), affine=affine)
    return case


def test_rows_by_hand(tmp_path: Path) -> None:
    table = ClassTable(tmp_path, ["none", "portal"], sure=0.8)
    table.start(None, [])
    sure, unsure, failed = a_case("b", [0.1, 0.9]), a_case("a", [0.625, 0.375]), a_case("c", [0.5, 0.5])
    for case in (sure, unsure):
        table.completed(case)
    failed.error = UserError("c.nii.gz", "is empty", "copy it again")
    for case in (sure, unsure, failed):
        table.ended(case)
    table.finish(None)
    rows = list(read_csv(tmp_path / "classes.csv"))
    assert [row["case"] for row in rows] == ["a", "b", "c"]
    assert [(row["class"], row["probability"], row["review"], row["reasons"]) for row in rows] == [
        ("none", "0.6250", "yes", "probability 0.62"),
        ("portal", "0.9000", "no", ""),
        ("", "", "yes", "failed"),
    ]
    assert (rows[0]["p_none"], rows[0]["p_portal"]) == ("0.6250", "0.3750") and "is empty" in rows[2]["error"]


def test_a_picture_that_cannot_be_drawn_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, case = ClassTable(tmp_path, ["none", "portal"]), a_case("a", [0.1, 0.9])
    case.attention, case.scan = {3: torch.rand(1, 8, 8, 8)}, MetaTensor(torch.zeros(2, 2, 2))
    table.start(None, [])
    table.completed(case)
    case.publish()
    table.ended(case)
    table.finish(None)
    assert [row["status"] for row in read_csv(tmp_path / "classes.csv")] == ["ok"]
    assert (tmp_path / "a_attention_level3.nii.gz").is_file() and "could not be drawn" in caplog.text


def test_two_parts_write_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {name: ClassTable(tmp_path, ["none", "portal"]) for name in "ab"}
    for table in tables.values():
        table.start(None, [])
    for name, table in tables.items():
        case = a_case(name, [0.1, 0.9])
        table.completed(case), table.ended(case)
        table.finish(None)
    assert [row["case"] for row in read_csv(tmp_path / "classes.csv")] == ["a", "b"], "each adds its rows to what is there"
    # while another part is writing, a run goes on, and waits for it at the end
    case = a_case("c", [0.1, 0.9])
    monkeypatch.setattr("bundle.handlers.inference.class_table.EVERY", 0.0)
    monkeypatch.setattr("bundle.handlers.inference.class_table.LOCKED", 0.2)
    with locked(tmp_path / ".classes.csv.lock"):
        tables["a"].completed(case), tables["a"].ended(case)
        assert [row["case"] for row in read_csv(tmp_path / "classes.csv")] == ["a", "b"]
        began = time.monotonic()
        tables["a"].finish(None)
        assert time.monotonic() - began > 0.2
    assert [row["case"] for row in read_csv(tmp_path / "classes.csv")] == ["a", "b", "c"]


def test_scans_of_one_name_have_a_row_each(tmp_path: Path) -> None:
    """`patA/ct.nii`, then `patB/ct.nii` into the same folder; the first again has its own row again."""
    sources = {name: tmp_path / name / "ct.nii" for name in ("patA", "patB")}
    for path in sources.values():
        path.parent.mkdir()
        path.touch()
    for name in ("patA", "patB", "patA"):
        table = ClassTable(tmp_path / "out", ["none", "portal"])
        (item,) = table.named([{"case": "ct", "source": str(sources[name]), "image": str(sources[name])}])
        table.start(None, [item])
        case = a_case(item["case"], [0.1, 0.9])
        case.item = item
        table.completed(case), table.ended(case), table.finish(None)
    rows = read_csv(tmp_path / "out" / "classes.csv")
    assert [(row["case"], row["source"]) for row in rows] == [("ct", str(sources["patA"])), ("patB_ct", str(sources["patB"]))]


def test_a_scan_by_another_path_has_one_row(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "ct.nii").write_bytes(b"scan")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for folder in ("real", "link"):
        table, source = ClassTable(tmp_path, ["none", "portal"]), str(tmp_path / folder / "ct.nii")
        (item,) = table.named([{"case": "ct", "source": source, "image": source}])
        table.start(None, [])
        case = a_case(item["case"], [0.1, 0.9])
        case.item["source"] = source
        table.completed(case), table.ended(case)
        table.finish(None)
    assert [(row["case"], row["source"]) for row in read_csv(tmp_path / "classes.csv")] == [("ct", source)]


def test_scans_of_one_name_at_the_same_time_have_a_row_each(tmp_path: Path) -> None:
    """Both runs take the name before either has a row; the second, which finds it taken, puts a digest of its source behind it."""
    tables = [ClassTable(tmp_path, ["none", "portal"]) for _ in "ab"]
    for table in tables:
        table.start(None, [])
    for table, folder in zip(tables, "ab", strict=True):
        case = a_case("ct", [0.1, 0.9])
        case.item["source"] = f"/{folder}/ct.nii"
        table.completed(case), table.ended(case), table.finish(None), table.finish(None)
    rows = read_csv(tmp_path / "classes.csv")
    assert [row["source"] for row in rows] == ["/a/ct.nii", "/b/ct.nii"]
    assert rows[0]["case"] == "ct" and re.fullmatch(r"ct_[0-9a-f]{8}", rows[1]["case"])


@pytest.mark.parametrize("saved", [b"case;source\na;a.nii.gz\n", b"case,source\n\xe4,x\n", b"\n"])
def test_a_table_that_is_saved_by_another_program_meanwhile_costs_no_answer(tmp_path: Path, saved: bytes) -> None:
    table = ClassTable(tmp_path, ["none", "portal"])
    for name in "ab":
        table.start(None, []) if name == "a" else (tmp_path / "classes.csv").write_bytes(saved)
        case = a_case(name, [0.1, 0.9])
        table.completed(case), table.ended(case), table.finish(None)
    assert [(row["case"], row["class"]) for row in read_csv(tmp_path / "classes.csv")] == [("a", "portal"), ("b", "portal")]
    # before anything is done such a table is refused
    (tmp_path / "classes.csv").write_bytes(b"case;source\na;a.nii.gz\n")
    with pytest.raises(UserError, match=r"classes\.csv: has no column case"):
        ClassTable(tmp_path, ["none", "portal"]).start(None, [])


def test_a_scan_that_fails_keeps_the_class_that_it_had(tmp_path: Path) -> None:
    for error in (None, UserError("a.nii.gz", "is not mounted", "mount it")):
        table, case = ClassTable(tmp_path, ["none", "portal"]), a_case("a", [0.1, 0.9])
        table.start(None, [])
        case.error = error
        if error is None:
            table.completed(case)
        table.ended(case), table.finish(None)
    (row,) = read_csv(tmp_path / "classes.csv")
    assert (row["status"], row["class"], row["p_portal"], row["review"]) == ("failed", "portal", "0.9000", "yes")
    assert "is not mounted" in row["error"]


def test_a_table_of_other_classes_is_refused(tmp_path: Path) -> None:
    first = ClassTable(tmp_path, ["none", "portal"])
    first.start(None, [])
    case = a_case("a", [0.1, 0.9])
    first.completed(case), first.ended(case), first.finish(None)
    with pytest.raises(UserError, match=r"classes.csv: it is of other classes \(none, portal\)"):
        ClassTable(tmp_path, ["portal", "none"]).start(None, [])
    again = ClassTable(tmp_path, ["none", "portal"])
    again.start(None, [])
    assert list(again.rows) == ["a"]
