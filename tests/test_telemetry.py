"""Nothing reports: neither OpenVINO nor MLflow connects anywhere or leaves an identification in the home folder."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from warm_python import WarmPython

GUARD = Path(__file__).resolve().parent / "monai_label" / "guard"
EXPORT = """
import torch
from bundle.inferers.openvino_network import OpenVinoNetwork
from bundle.networks import AttentionUnet, fold_batch_norm
network = fold_batch_norm(AttentionUnet(channels=(4, 4, 8, 8, 8)).eval())
exported = OpenVinoNetwork(network, "cache")
exported(torch.zeros(1, 1, 16, 16, 16))
"""
TRACKED = """
import monai.handlers, mlflow
import bundle
from mlflow.telemetry import get_telemetry_client
assert get_telemetry_client() is None
mlflow.set_tracking_uri("sqlite:///runs.db")
mlflow.create_experiment("x")
"""
CHILD = """
import multiprocessing

def work():
    from bundle.telemetry import quiet_openvino
    quiet_openvino()

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start(); child.join()
    assert child.exitcode == 0
"""


# asked before any test, as one that quiets OpenVINO hides the package
REPORTS = importlib.util.find_spec("openvino_telemetry") is not None
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
# MLflow is in the server's environment, and in this one where its extra was installed
MLFLOW = sys.executable if importlib.util.find_spec("mlflow") else os.environ.get("MONAI_LABEL_PYTHON", "")


def run(code: str, folder: Path, repository: Path, python: str | WarmPython = sys.executable) -> tuple[str, list[str]]:
    """Connections that a program and its children ask for (none is made), and the files it leaves in the home folder."""
    home, log = folder / "home", folder / "traffic.log"
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_CURRENT_TEST", "MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
        kept.pop(name, None)
    own = {"HOME": str(home), "PYTHONPATH": f"{GUARD}{os.pathsep}{repository}", "BUNDLE_TRAFFIC_LOG": str(log), "OMP_NUM_THREADS": "1"}
    if isinstance(python, WarmPython):
        # the guard is what a new Python imports first
        done = python("-c", f"import sitecustomize\n{code}", cwd=folder, env=kept | own)
    else:
        (folder / "program.py").write_text(code)
        done = subprocess.run([python, "program.py"], cwd=folder, env=kept | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    left = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return log.read_text(encoding="utf-8") if log.exists() else "", [
        name for name in left if not name.startswith((".cache/", ".config/matplotlib"))
    ]


@needs_openvino
def test_openvino_reports_nothing(tmp_path: Path, repository: Path, warm_python: WarmPython) -> None:
    assert run(EXPORT, tmp_path, repository, warm_python) == ("", [])


@needs_openvino
def test_openvino_reports_nothing_in_a_child(tmp_path: Path, repository: Path) -> None:
    assert run(CHILD, tmp_path, repository) == ("", [])


@needs_openvino
def test_openvino_reports_by_itself(tmp_path: Path, repository: Path) -> None:
    """Without this the test above would show nothing: the very import asks for a connection."""
    if not REPORTS:
        pytest.skip("without its package for reports")
    code = "import os, time, openvino\nfrom openvino.tools import ovc\nend = time.monotonic() + 3\n"
    code += "while time.monotonic() < end and not os.path.exists(os.environ['BUNDLE_TRAFFIC_LOG']): time.sleep(0.05)\n"
    traffic, left = run(code, tmp_path, repository)
    assert traffic or left


@pytest.mark.skipif(not MLFLOW, reason="needs MLflow: make test-monai-label")
def test_mlflow_is_switched_off_also_where_it_was_imported_before(tmp_path: Path, repository: Path) -> None:
    assert run(TRACKED, tmp_path, repository, MLFLOW)[0] == ""


def test_children_inherit_the_switches() -> None:
    assert os.environ["DO_NOT_TRACK"] and os.environ["MLFLOW_DISABLE_TELEMETRY"]
