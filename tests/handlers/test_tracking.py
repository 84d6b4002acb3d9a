"""MONAI's own switch for MLflow: settings, figures of each case and structure, and files of every run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import types
import urllib.request
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from bundle.handlers import tracking
from bundle.networks import AttentionUnet
from bundle.tables import write_csv

ROWS = [
    {"case": "a#1", "structure": "spleen", "dice": 0.5, "hd95_mm": 3, "review": "no"},
    {"case": "b", "structure": "spleen", "dice": 0.75, "hd95_mm": float("inf"), "review": "yes"},
]


class Client:
    """What of `MlflowClient` is used."""

    def __init__(self) -> None:
        self.params: dict[str, str] = {"seed": "0"}
        self.metrics: dict[str, float] = {}
        self.files: list[str] = []

    def get_run(self, run: str) -> Any:
        return types.SimpleNamespace(data=types.SimpleNamespace(params=self.params))

    def log_batch(self, run: str, metrics=(), params=()) -> None:
        assert len(params) <= 100 and len(metrics) <= 1000, "MLflow takes no more at once"
        assert not set(self.params) & {param.key for param in params}, "MLflow refuses another value"
        self.params |= {param.key: param.value for param in params}
        self.metrics |= {metric.key: metric.value for metric in metrics}

    def log_artifact(self, run: str, path: str) -> None:
        self.files.append(Path(path).name)

    def log_artifacts(self, run: str, folder: str, to: str) -> None:
        self.files += [f"{to}/{path.name}" for path in Path(folder).iterdir()]


class MLFlowHandler:
    """A stand-in of the name by which MONAI's is found."""

    def __init__(self) -> None:
        self.client, self.cur_run = Client(), None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)

    def start(self, engine: Engine) -> None:
        self.cur_run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="1"))


@pytest.fixture
def entities(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mlflow.entities")
    module.Metric, module.Param = namedtuple("Metric", "key value timestamp step"), namedtuple("Param", "key value")
    monkeypatch.setitem(sys.modules, "mlflow", types.ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.entities", module)


def run(handler: tracking.Tracking, tracker: MLFlowHandler | None) -> None:
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    if tracker is not None:
        tracker.attach(engine)
    engine.run([0], max_epochs=2)


def test_settings_figures_and_files_go_to_the_run_of_monais_handler(tmp_path: Path, entities: None) -> None:
    write_csv(tmp_path / "cases.csv", list(ROWS[0]), ROWS)
    (tmp_path / "previews").mkdir()
    (tmp_path / "previews" / "a.png").touch()
    (tmp_path / "b_preview.png").touch()
    (tmp_path / "config_20260101_000000.json").touch()
    handler, tracker = tracking.Tracking(tmp_path, ["cases.csv", "missing.csv"], ["previews", "missing", "*.png"]), MLFlowHandler()
    handler.parameters = {"seed": 1, "patch_size": [2, 2, 2], **{f"key_{number}": number for number in range(150)}}
    run(handler, tracker)
    client = tracker.client
    assert client.params["patch_size"] == "[2, 2, 2]" and client.params["seed"] == "0" and client.params["key_149"] == "149"
    assert client.metrics == {
        "a_1/spleen/dice": 0.5,
        "a_1/spleen/hd95_mm": 3.0,
        "b/spleen/dice": 0.75,
        "mean/spleen/dice": 0.625,
        "mean/spleen/hd95_mm": 3.0,
    }
    assert client.files == ["cases.csv", "previews/a.png", "b_preview.png", "config_20260101_000000.json"]
    write_csv(tmp_path / "metrics.csv", ["case", "structure", "recall"], [{"case": "b", "structure": "kidney", "recall": 1}])
    tracking.log_scores([object(), handler])
    assert client.metrics["b/kidney/recall"] == 1.0 and client.files[-2] == "metrics.csv"


def test_without_monais_handler_nothing_happens(tmp_path: Path) -> None:
    handler = tracking.Tracking(tmp_path, ["cases.csv"])
    run(handler, None)
    tracking.log_scores([handler])
    assert handler.tracked is None and not list(tmp_path.iterdir())


def _start(config: str | list[str], folder: Path, data: Path, **keys: Any) -> None:
    from monai.bundle import ConfigWorkflow

    given = {"dataset_dir": str(data), "output_dir": str(folder), "device": "cpu", "network_def#channels": [4, 4, 8, 8, 8], **keys}
    workflow = ConfigWorkflow(config, logging_file=False, tracking="mlflow", workflow_type="train", **given)
    workflow.initialize()
    workflow.run()


def _read(uri: str, name: str) -> tuple[dict, dict, set[str], str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([one.experiment_id for one in client.search_experiments()], f"attributes.run_name = '{name}'")
    files = {item.path for item in client.list_artifacts(found.info.run_id)}
    return found.data.params, found.data.metrics, files, found.info.status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on loopback."""
    pytest.importorskip("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "kept"), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *store]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.5)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_training_inference_and_evaluation_by_monais_switch(repository: Path, tmp_path: Path, server: str) -> None:
    pytest.importorskip("mlflow")
    data = _cases(tmp_path / "data")
    configs = repository / "configs"
    training = {"ckpt_dir": str(tmp_path / "models"), "cache_dir": None, "patch_size": [16, 16, 16], "max_epochs": 2, "val_interval": 1}
    _start(str(configs / "train.json"), tmp_path / "out", data, run_name="trained", num_workers=0, tracking_uri=server, **training)
    params, metrics, files, status = _read(server, "trained")
    assert status == "FINISHED" and params["learning_rate"] == "0.0001" and params["patch_size"] == "[16, 16, 16]"
    assert {"train_loss", "val_dice", "val_dice_spleen"} <= set(metrics) and {"training.csv", "previews"} <= files
    # into a database, MONAI's default
    torch.manual_seed(0)
    torch.save(AttentionUnet(channels=[4, 4, 8, 8, 8]).state_dict(), tmp_path / "model.pt")
    keys = {"run_name": "scored", "ckpt_path": str(tmp_path / "model.pt")}
    _start([str(configs / "inference.json"), str(configs / "overlays" / "inference" / "evaluate.json")], tmp_path / "scored", data, **keys)
    params, metrics, files, status = _read(f"sqlite:///{tmp_path}/scored/mlruns.db", "scored")
    assert status == "FINISHED" and params["section"] == "validation" and params["ckpt_path"].endswith("model.pt")
    assert {"cases.csv", "metrics.csv", "summary.json", "case_1_preview.png", "run.json"} <= files
    assert {"case_1/spleen/dice", "mean/spleen/dice", "case_1/spleen/volume_ml"} <= set(metrics)
    assert any(name.startswith("config_") for name in files)


def _cases(folder: Path) -> Path:
    import nibabel as nib
    import numpy as np

    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in range(5):
        label = np.zeros((20, 20, 20), np.uint8)
        for value in (1, 2, 3):
            label[5 * value : 5 * value + 4, 4:10, 4:10] = value
        image = label * 60.0 - 100 + np.random.default_rng(case).normal(0, 5, label.shape)
        image[0] = -1000
        for part, content in (("imagesTr", image), ("labelsTr", label)):
            nib.save(nib.Nifti1Image(content.astype(np.float32), np.diag([-2.0, -2, 2, 1])), folder / part / f"case_{case}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "pancreas": 1, "spleen": 2, "kidney": 3}}))
    return folder
