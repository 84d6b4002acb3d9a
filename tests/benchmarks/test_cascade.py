"""The benchmark of the cascade: Dice, CPU seconds and memory of a process, and a table of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from command_lines import merged

import bundle
from bundle.arguments import keys
from bundle.arguments.command_line import CommandLine, split

spec = importlib.util.spec_from_file_location("benchmark_cascade", Path(bundle.root()) / "benchmarks" / "cascade.py")
cascade = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = cascade
spec.loader.exec_module(cascade)

# stands in for inference: writes 4 voxels of pancreas, of which 2 are right
CHILD = """
import sys, nibabel, numpy as np, pathlib
out = pathlib.Path(sys.argv[sys.argv.index("--output_dir") + 1])
out.mkdir(parents=True)
labels = np.zeros((6, 2, 2), np.uint8)
labels[0:4, 0, 0] = 1
nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), out / "scan_seg.nii.gz")
sum(range(10**6))
"""


def test_a_scan_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 * 2 / (4 + 4); of the spleen neither has any."""
    reference = np.zeros((6, 2, 2), np.uint8)
    reference[2:6, 0, 0] = 1
    nibabel.save(nibabel.Nifti1Image(reference, np.eye(4)), tmp_path / "scan.nii.gz")
    run = cascade.subprocess.Popen
    monkeypatch.setattr(cascade.subprocess, "Popen", lambda words, **more: run([words[0], "-c", CHILD, *words[3:]], **more))
    found = cascade.measure(tmp_path / "scan.nii.gz", tmp_path / "scan.nii.gz", [], tmp_path / "out", 1)
    assert (found["pancreas"], found["spleen"]) == (0.5, pytest.approx(float("nan"), nan_ok=True))
    assert 0.01 < found["cpu_seconds"] < 60 and 0.01 < found["peak_gb"] < 2
    row = cascade.table({"scan": {"single": {**found, "cpu_seconds": 20.04, "peak_gb": 1.5}}}).splitlines()[-1]
    assert row == "| scan | single | 0.500, nan, nan | 20.0 | 1.50 |"


def test_variants_are_commands_that_the_config_takes() -> None:
    found = cascade.variants("coarse.pt")
    assert next(iter(found)) == "single network" and len(cascade.variants(None)) == 2
    for words in found.values():
        given, loose = split(words)
        line = CommandLine(given, tuple(loose))
        assert all((Path(bundle.root()) / file).is_file() for file in line.files)
        parser = merged(*(Path(file).stem for file in line.files))
        for key in line.keys:
            parser[key] = given[key]
        keys.check(parser, line)
