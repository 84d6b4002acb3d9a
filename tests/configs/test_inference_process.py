"""`python -m monai.bundle run` as a process: exit code, console, and a run killed without warning that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import pytest
import torch
from small_scans import nifti

from bundle.networks import AttentionUnet

pytestmark = pytest.mark.slow
# so many that a run is still under way when it is interrupted after its second one, also on a fast machine
SCANS = 60


@pytest.fixture
def command(repository: Path, tmp_path: Path) -> list[str]:
    torch.manual_seed(4)
    torch.save(AttentionUnet(channels=(4, 4, 8, 8, 8)).state_dict(), tmp_path / "model.pt")
    keys = {"dataset_dir": tmp_path / "data", "output_dir": tmp_path / "out", "ckpt_path": tmp_path / "model.pt", "previews": False}
    config = repository / "configs" / "inference.json"
    parts = [sys.executable, "-m", "monai.bundle", "run", "inference", "--config_file", str(config)]
    return parts + [p for key, value in keys.items() for p in (f"--{key}", str(value))] + ["--network_def#channels", "[4,4,8,8,8]"]


# where the package is not installed, the checkout serves as it
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def run(command: list[str], tmp_path: Path) -> subprocess.CompletedProcess:
    # from another folder: nothing may depend on where the command is typed
    return subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def test_exit_code_and_last_words(command: list[str], tmp_path: Path) -> None:
    nifti(tmp_path / "data" / "good.nii.gz")
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 label map written" in done.stdout and "Warning" not in done.stderr
    (tmp_path / "data" / "bad.nii.gz").write_text("no image")
    done = run(command, tmp_path)
    assert done.returncode == 1
    assert "1 case failed" in done.stdout and "bad.nii.gz" in done.stdout and "Traceback" not in done.stderr
    (tmp_path / "model.pt").unlink()
    done = run(command, tmp_path)
    assert done.returncode != 0 and "there is no such file" in done.stderr and "Traceback" not in done.stderr


def test_a_killed_run_goes_on_where_it_was(command: list[str], tmp_path: Path) -> None:
    for number in range(12):
        nifti(tmp_path / "data" / f"scan_{number:02d}.nii.gz")
    out = tmp_path / "out"
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(out.glob("*_seg.nii.gz"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    assert 3 <= len(first) < 12
    for name in first:
        nibabel.load(out / name).get_fdata()  # whole, or not there
    recorded = {path.stem for path in (out / ".records").glob("*.json")}
    assert run(command, tmp_path).returncode == 0
    second = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    assert len(second) == 12 and [path.name for path in out.glob(".*")] == [".records"]
    assert not [path for path in (out / ".records").iterdir() if path.suffix != ".json" and path.name != ".lock"]
    kept = [name for name in first if second[name] == first[name]]
    assert {f"{case}_seg.nii.gz" for case in recorded} <= set(kept)
    assert len(kept) >= len(first) - 1


def test_an_interrupted_run_says_what_it_did_and_two_at_once_share_the_rest(command: list[str], tmp_path: Path) -> None:
    for number in range(SCANS):
        nifti(tmp_path / "data" / f"scan_{number:02d}.nii.gz")
    out = tmp_path / "out"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes)
    deadline = time.monotonic() + 200
    while len(list(out.glob("*_seg.nii.gz"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" not in errors
    written = len(list(out.glob("*_seg.nii.gz")))
    record = json.loads((out / "run.json").read_text())
    assert record["written"] == written and f"{written} label maps written to {out}" in said and "index.html" in said
    both = [subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes) for _ in range(2)]
    words = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    record = json.loads((out / "run.json").read_text())
    assert record["written"] == SCANS and record["failed"] == 0 and len(list(out.glob("*_seg.nii.gz"))) == SCANS
    by_them = sum(int(line.split()[0]) for text in words for line in text.splitlines() if " written to " in line)
    assert by_them == SCANS - written, "no scan was done twice"
    assert [path.name for path in out.glob(".*")] == [".records"] and not list((out / ".records").glob("*.claim"))
