"""Runs that are killed without warning, again and again: `python killed_runs.py FOLDER` exits with 0 when nothing was ever wrong.

Each run is a forked process, so that a hundred of them take seconds. Two runs with other settings take turns: a record that
is finished must be of the very label map beside it, at any moment.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from light_evaluator import LABELS, evaluator, logits, scan, spleen_voxels

from bundle.results.records import Records

CASES = 8


def run(data: Path, out: Path, inverted: bool) -> None:
    """One run; `inverted` is a setting that the label maps show."""

    def seen(volume: torch.Tensor, network: object) -> torch.Tensor:
        return -logits(volume, network) if inverted else logits(volume, network)

    evaluator(data, out, inferer=seen, settings={"labels": LABELS, "inverted": inverted}).run()


def killed(data: Path, out: Path, inverted: bool, after: float) -> None:
    """A run in a process of its own that is killed after some seconds."""
    child = os.fork()
    if child == 0:
        run(data, out, inverted)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def check(out: Path) -> int:
    """Every finished record is of the label map beside it; gives their number."""
    records = Records(out)
    records.open()
    finished = [entry for entry in records if entry["status"] == "ok"]
    for entry in finished:
        number = int(entry["case"][1:]) + 3
        expected = 720 - number if entry["settings"]["inverted"] else number
        assert spleen_voxels(out / entry["output"]) == expected, entry
    return len(finished)


def main() -> None:
    """Kill forty runs at any moment, then let one come to its end."""
    torch.set_num_threads(1)
    data, out = Path(sys.argv[1]) / "data", Path(sys.argv[1]) / "out"
    for number in range(CASES):
        scan(data / f"s{number}.nii", number + 3)
    began = time.monotonic()
    run(data, out, False)
    whole = time.monotonic() - began
    random.seed(0)
    for turn in range(40):
        killed(data, out, turn % 2 == 0, random.uniform(0, 1.2 * whole))
        check(out)
    # two at once, one of them killed
    child = os.fork()
    if child == 0:
        killed(data, out, True, whole / 2)
        os._exit(0)
    run(data, out, True)
    os.waitpid(child, 0)
    run(data, out, True)
    assert check(out) == CASES
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [".records", "cases.csv", "index.html", "run.json", *(f"s{number}_seg.nii.gz" for number in range(CASES))]
    )
    assert sorted(p.name for p in (out / ".records").iterdir()) == sorted([".lock", *(f"s{number}.json" for number in range(CASES))])


if __name__ == "__main__":
    main()
