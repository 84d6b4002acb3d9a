"""Runs as they are compared: scores, and what the files next to them say of the network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.evaluation.compared import metrics_of, read_run
from bundle.evaluation.score import write_metrics
from bundle.metrics import COLUMNS

ROW = {"case": "a", "structure": "pancreas", **dict.fromkeys(COLUMNS, 1.0)}


def test_a_run_with_what_is_known_of_its_network(tmp_path: Path) -> None:
    """From both files: the record of a run, and that of an experiment."""
    write_metrics([ROW], tmp_path / "metrics.csv")
    (tmp_path / "run.json").write_text(json.dumps({"seconds_per_case": 1.5}))
    (tmp_path / "experiment.json").write_text(
        json.dumps({"parameters": 7, "forward": {"seconds": 0.5, "size": [4, 4, 2], "device": "CPU"}})
    )
    run = read_run(tmp_path, "name")
    assert (run.name, run.parameters, run.seconds, run.forward, run.forward_size) == ("name", 7, 1.5, 0.5, (4, 4, 2))
    assert run.rows["a", "pancreas"]["dice"] == 1.0 and metrics_of([run])[-1] == "mesh_mm"
    assert read_run(tmp_path / "metrics.csv", "name").parameters == 7


@pytest.mark.parametrize("content", [{}, {"forward": None}, {"forward": {"seconds": None, "size": [4, 4, 2]}}, {"parameters": "many"}])
def test_what_is_not_known_stays_empty(tmp_path: Path, content: dict) -> None:
    write_metrics([ROW], tmp_path / "metrics.csv")
    (tmp_path / "experiment.json").write_text(json.dumps(content))
    run = read_run(tmp_path, "name")
    assert run.parameters is None and run.forward is None


def test_a_case_that_is_there_twice(tmp_path: Path) -> None:
    write_metrics([ROW, ROW], tmp_path / "metrics.csv")
    with pytest.raises(UserError, match="has two rows of case a, pancreas"):
        read_run(tmp_path, "name")
