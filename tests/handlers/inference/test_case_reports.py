"""Table, previews and page of a run, from cases made by hand."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.engines.case import Case
from bundle.errors import UserError
from bundle.handlers.inference.case_reports import CaseReports
from bundle.inferers.confidence import Confidence
from bundle.quality.cases import write_rows

LABELS = {"background": 0, "pancreas": 1, "spleen": 7}


def a_case(name: str = "scan") -> Case:
    """20x20x20 voxels of 10 mm: a spleen of 4x4x4 at 100 HU, no pancreas."""
    affine = torch.diag(torch.tensor([10.0, 10.0, 10.0, 1.0], dtype=torch.float64))
    scan = torch.full((20, 20, 20), -1000.0)
    scan[2:18, 4:16] = 40.0
    labels = torch.zeros(1, 20, 20, 20, dtype=torch.uint8)
    labels[:, 4:8, 6:10, 8:12] = 7
    scan[labels[0] == 7] = 100.0
    image = MetaTensor(scan[None], affine=affine, meta={"original_affine": affine, "spatial_shape": np.array([20, 20, 20])})
    item = {"image": "scan.nii.gz", "case": name, "source": "scan.nii.gz"}
    case = Case(item, {"image": image, "pred": MetaTensor(labels, affine=affine)})
    case.scan = MetaTensor(scan, affine=affine)
    case.confidence = [Confidence(0.99, 0.5, 0.99), None, Confidence(0.95, 0.5, 0.9)]
    case.seconds["network"] = 2.5
    return case


def rows_of(case: Case) -> dict[str, dict]:
    return {row["structure"]: row for row in case.rows}


def test_rows_preview_and_page(tmp_path):
    reports, case = CaseReports(tmp_path, LABELS), a_case()
    reports.completed(case)
    assert not (tmp_path / "scan_preview.png").exists(), "it waits for the case's other files"
    case.publish()
    write_rows(tmp_path, case.rows)
    reports.finish(None)
    rows = rows_of(case)
    assert rows["spleen"]["volume_ml"] == 64.0 and rows["spleen"]["mean_hu"] == 100.0
    assert (rows["spleen"]["confidence_mean"], rows["spleen"]["expected_dice"]) == (0.95, 0.9)
    assert rows["pancreas"]["volume_ml"] == 0 and rows["pancreas"]["reasons"].startswith("pancreas: not found")
    assert sorted(case.files) == ["scan_preview.png", "scan_slices.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "index.html", "scan_preview.png", "scan_slices.jpg"]


def test_ranges_are_judged_by(tmp_path):
    usual = {"cases": 9, "structures": {"spleen": {"volume_ml": [200.0, 300.0]}}, "offsets_mm": {}}
    (tmp_path / "ranges.json").write_text(json.dumps(usual))
    reports, case = CaseReports(tmp_path / "out", LABELS, previews=False, reference_ranges=str(tmp_path / "ranges.json")), a_case()
    reports.completed(case)
    assert "spleen: 64.0 ml (usual in the training set: 200 to 300 ml)" in rows_of(case)["spleen"]["reasons"]
    with pytest.raises(UserError, match="no such file"):
        CaseReports(tmp_path, LABELS, reference_ranges=str(tmp_path / "none.json"))


def test_a_picture_of_the_gates_where_asked_for(tmp_path):
    reports, case = CaseReports(tmp_path, LABELS, previews=False), a_case()
    case.attention = {2: torch.rand(2, 20, 20, 20, generator=torch.Generator().manual_seed(0))}
    reports.completed(case)
    case.publish()
    assert case.files == ["scan_attention.png"] and (tmp_path / "scan_attention.png").stat().st_size > 10_000


def test_a_case_that_fails_leaves_no_picture(tmp_path):
    reports, case = CaseReports(tmp_path, LABELS), a_case()
    (tmp_path / "scan_preview.png").write_bytes(b"of an earlier run")
    reports.completed(case)
    case.release()
    assert [path.name for path in tmp_path.iterdir()] == ["scan_preview.png"]
    assert (tmp_path / "scan_preview.png").read_bytes() == b"of an earlier run"


def test_a_picture_that_cannot_be_drawn_costs_no_label_map(tmp_path, monkeypatch, caplog):
    def broken(*arguments):
        raise OSError("no font")

    monkeypatch.setattr("bundle.pictures.preview.preview", broken)
    monkeypatch.setattr("bundle.pictures.slices.slices", broken)
    reports, case = CaseReports(tmp_path, LABELS), a_case()
    reports.completed(case)
    case.publish()
    assert case.files == [] and case.lacking == [] and "scan_preview.png could not be drawn: no font" in caplog.text
    assert rows_of(case)["spleen"]["status"] == "ok" and list(tmp_path.iterdir()) == []


def test_a_picture_without_room_is_noted_as_lacking(tmp_path, monkeypatch, caplog):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bundle.pictures.preview.preview", full)
    reports, case = CaseReports(tmp_path, LABELS), a_case()
    reports.completed(case)
    case.publish()
    assert case.lacking == ["previews"] and "scan_preview.png" not in case.files
    assert [record.getMessage() for record in caplog.records] == ["scan_preview.png could not be written: No space left on device"]
