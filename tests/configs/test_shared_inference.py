"""Inference by several processes: torchrun on one node and on two, parts by `--part` and by Slurm's variables; kills."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nodes
import pytest
import torch
from small_scans import nifti

from bundle.networks import AttentionUnet

pytestmark = pytest.mark.slow
COUNT = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Twelve scans, weights beside them."""
    folder = tmp_path_factory.mktemp("shared")
    for number in range(COUNT):
        nifti(folder / "scans" / f"scan_{number:02d}.nii.gz")
    torch.manual_seed(4)
    torch.save(AttentionUnet(channels=(4, 4, 8, 8, 8)).state_dict(), folder / "model.pt")
    return folder


def run(repository: Path, data: Path, out: Path, **keys: Any) -> list[str]:
    """What comes after `python -m` for inference."""
    keys = {"dataset_dir": data / "scans", "output_dir": out, "ckpt_path": data / "model.pt", "previews": False, **keys}
    config = str(repository / "configs" / "inference.json")
    return ["monai.bundle", "run", "inference", "--config_file", config, *nodes.words({**keys, "network_def#channels": [4, 4, 8, 8, 8]})]


@pytest.fixture(scope="module")
def alone(repository, data, tmp_path_factory) -> Path:
    """What one process makes."""
    out = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", *run(repository, data, out)], env=nodes.environment(repository), check=True, capture_output=True)
    return out


def results(out: Path) -> tuple[dict, list, dict, str]:
    """Everything in a folder of results, without times, process numbers and the folder's own name."""
    record = json.loads((out / "run.json").read_text())
    for entry in (record, *record["cases"]):
        for name in ("started", "finished", "ended", "seconds", "process"):
            entry.pop(name, None)
    with open(out / "cases.csv", newline="") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    maps = {path.name: path.read_bytes() for path in sorted(out.glob("*_seg.nii.gz"))}
    names = " ".join(
        sorted(path.name for path in (*out.iterdir(), *(out / ".records").iterdir()) if not path.name.startswith((".part", ".plan")))
    )
    return record, rows, maps, names


def test_torchrun_on_two_nodes_makes_what_one_process_makes(repository, data, alone, tmp_path) -> None:
    said = nodes.ended(nodes.start(repository, run(repository, data, tmp_path), nodes=2, processes=2))
    assert results(tmp_path) == results(alone)
    done = [int(number) for text in said for number in re.findall(r"process \d: (\d+) label maps? written", text)]
    assert len(done) == 4 and sum(done) == COUNT


def test_a_killed_process_costs_nothing_that_was_finished(repository, data, alone, tmp_path) -> None:
    agents = nodes.start(repository, run(repository, data, tmp_path), processes=2, restarts=1)
    deadline = time.monotonic() + 300
    while len(list((tmp_path / ".records").glob("scan*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    nodes.workers(agents[0])[1].kill()
    time.sleep(0.2)  # what is being written takes its place
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".records").glob("scan*.json")}
    kept = {name.replace(".json", "_seg.nii.gz") for name in before}
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*_seg.nii.gz") if path.name in kept}
    nodes.ended(agents)
    assert results(tmp_path) == results(alone)
    assert len(written) >= 2 and all((tmp_path / name).stat().st_mtime_ns == then for name, then in written.items())


def test_a_bad_scan_ends_all_with_one_message_and_the_others_are_written(repository, data, tmp_path) -> None:
    (tmp_path / "scans").mkdir()
    for path in (data / "scans").iterdir():
        shutil.copy2(path, tmp_path / "scans" / path.name)
    (tmp_path / "scans" / "bad.nii.gz").write_text("no image")
    words = run(repository, data, tmp_path / "out", dataset_dir=tmp_path / "scans")
    agents = nodes.start(repository, words, processes=2)
    said = agents[0].communicate(timeout=400)[0]
    assert agents[0].returncode == 1 and said.count(": failed: ") == 1
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["written"], record["failed"]) == (COUNT, 1)


def test_parts_at_once_by_option_and_by_slurm(repository, data, alone, tmp_path) -> None:
    slurm = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "3", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_STEP": "1"}
    words, pipes = run(repository, data, tmp_path), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = []
    for more, variables in (
        (["--part", "2/3"], {}),
        ([], {**slurm, "SLURM_ARRAY_TASK_ID": "3"}),
        (["--part", "1/3"], {**slurm, "SLURM_ARRAY_TASK_ID": "3"}),
    ):
        command = [sys.executable, "-m", *words, *more]
        processes.append(subprocess.Popen(command, env=nodes.environment(repository, **variables), **pipes))
    said = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert "part 3/3 (SLURM_ARRAY_TASK_ID=3 of 1 to 3): 4 of 12 scans" in said[1] and "part 1/3 (--part): 4 of 12 scans" in said[2]
    assert sum("all 3 parts have ended" in text for text in said) >= 1
    assert results(tmp_path) == results(alone)
