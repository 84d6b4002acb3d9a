"""The last words of make train."""

import json

import pytest

from bundle.errors import UserError
from bundle.evaluation.quickstart import quickstart_report
from bundle.evaluation.score import summarise


def test_table_and_paths(tmp_path, capsys):
    scores = {"precision": 1.0, "recall": 1.0, "assd_mm": 1.0, "hd95_mm": 1.0, "mesh_mm": 1.0, "volume_ml": 1.0, "reference_ml": 1.0}
    rows = [{"case": f"c{i}", "structure": s, "dice": d, **scores} for i in range(2) for s, d in (("pancreas", 0.5), ("spleen", 0.9))]
    for name in ("evaluation", "inference"):
        (tmp_path / name).mkdir()
    (tmp_path / "evaluation" / "summary.json").write_text(json.dumps(summarise(rows)))
    (tmp_path / "inference" / "a_seg.nii.gz").touch()
    (tmp_path / "inference" / "a_preview.png").touch()
    quickstart_report(str(tmp_path))
    said = capsys.readouterr().out
    assert "mean Dice over the structures: 0.700" in said
    for path in ("a_seg.nii.gz", "a_preview.png", "training.csv"):
        assert path in said


def test_missing_evaluation_is_said(tmp_path):
    with pytest.raises(UserError, match=r"summary\.json.*make train"):
        quickstart_report(str(tmp_path))
