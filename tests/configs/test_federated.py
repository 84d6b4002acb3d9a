"""Federated learning by MONAI's client on this bundle: two sites, three rounds, a mean weighted by their steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.fl.client import MonaiAlgo, MonaiAlgoStats
from monai.fl.utils.constants import ExtraItems, FlStatistics, ModelType
from monai.fl.utils.exchange_object import ExchangeObject

CHANNELS = [4, 4, 8, 8, 8]
SITES = {"site-1": 5, "site-2": 8}


def _client(repository: Path, folder: Path, cases: int, write_cases: Callable[..., Path]) -> MonaiAlgo:
    own = {
        "dataset_dir": str(write_cases(folder / "data", range(1, 4), cases)),
        "output_dir": str(folder / "out"),
        "ckpt_dir": str(folder / "models"),
        "cache_dir": None,
        "device": "cpu",
        "num_workers": 0,
        "preview_cases": 0,
        "patch_size": [16, 16, 16],
        "learning_rate": 0.01,
        "val_interval": 1,
        "network_def#channels": CHANNELS,
    }
    algo = MonaiAlgo(
        str(repository),
        local_epochs=6,
        train_kwargs=dict(own),
        config_evaluate_filename="configs/train.json",
        eval_kwargs={**own, "validate#handlers": []},
        best_model_filepath=str(folder / "models" / "model.pt"),
        final_model_filepath=str(folder / "out" / "last.pt"),
    )
    algo.initialize({ExtraItems.CLIENT_NAME: folder.name})
    return algo


def _round(weights: dict[str, torch.Tensor], clients: list[MonaiAlgo]) -> dict[str, torch.Tensor]:
    """What a server does: weights out, differences back, their mean by the number of steps."""
    back = []
    for client in clients:
        client.train(ExchangeObject(weights=weights))
        got = client.get_weights()
        back.append((got.weights, got.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS]))
    steps = sum(count for _, count in back)
    return {
        name: (value.double() + sum(change[name].double() * count for change, count in back) / steps).to(value.dtype)
        for name, value in weights.items()
    }


@pytest.mark.slow
def test_the_global_model_gets_better_at_both_sites(repository: Path, tmp_path: Path, write_cases: Callable[..., Path]) -> None:
    shipped = (repository / "models" / "model.pt").stat()
    clients = [_client(repository, tmp_path / site, cases, write_cases) for site, cases in SITES.items()]
    torch.manual_seed(0)
    weights = {name: value.detach().cpu().clone() for name, value in clients[0].trainer.network.state_dict().items()}
    before = [dict(client.evaluate(ExchangeObject(weights=weights)).metrics) for client in clients]
    for _ in range(3):
        weights = _round(weights, clients)
    after = [dict(client.evaluate(ExchangeObject(weights=weights)).metrics) for client in clients]
    for old, new in zip(before, after, strict=True):
        assert new["val_dice"] > old["val_dice"] + 0.1 and new["val_loss"] < old["val_loss"] - 0.1, (before, after)
    for client, site in zip(clients, SITES, strict=True):
        assert client.trainer.state.epoch == 18
        best = client.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL}).weights
        assert (tmp_path / site / "models" / "model.pt").is_file() and best.keys() == weights.keys()
        assert best["encoder.0.0.conv.weight"].shape[0] == CHANNELS[0], "its own, not the shipped one"
        last = client.get_weights({ExtraItems.MODEL_TYPE: ModelType.FINAL_MODEL}).weights
        assert torch.equal(last["encoder.0.0.conv.weight"], client.trainer.network.state_dict()["encoder.0.0.conv.weight"].cpu())
        client.finalize()
    now = (repository / "models" / "model.pt").stat()
    assert (now.st_mtime_ns, now.st_size) == (shipped.st_mtime_ns, shipped.st_size)


@pytest.mark.slow
def test_statistics_of_a_sites_data(repository: Path, tmp_path: Path, write_cases: Callable[..., Path]) -> None:
    pytest.importorskip("yaml")  # MONAI writes them as YAML
    from monai.bundle import ConfigWorkflow

    own = {"dataset_dir": str(write_cases(tmp_path / "data", range(1, 4))), "output_dir": str(tmp_path / "out"), "cache_dir": None}
    workflow = ConfigWorkflow(str(repository / "configs" / "train.json"), logging_file=False, workflow_type="train", **own)
    algo = MonaiAlgoStats(str(repository), workflow=workflow)
    algo.initialize({ExtraItems.CLIENT_NAME: "site-1", ExtraItems.APP_ROOT: str(tmp_path)})
    found = algo.get_data_stats({FlStatistics.HIST_BINS: [10], FlStatistics.HIST_RANGE: [[-50, 150]]}).statistics
    assert found["train"][FlStatistics.DATA_COUNT] == 4 and found["eval"][FlStatistics.DATA_COUNT] == 1
    assert found["train"][FlStatistics.FAIL_COUNT] == 0


def test_the_job_folder_names_what_there_is(repository: Path) -> None:
    folder = repository / "configs" / "federated"
    deployed = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["deploy_map"]
    train = json.loads((repository / "configs" / "train.json").read_text(encoding="utf-8"))
    assert set(deployed) == {path.name for path in folder.iterdir() if path.is_dir()}
    for site in ("site-1", "site-2"):
        client = json.loads((folder / site / "config" / "config_fed_client.json").read_text(encoding="utf-8"))
        (algo,) = client["components"]
        # MONAI takes each of them; keys of the config are in the config
        MonaiAlgo(**{key: value for key, value in algo["args"].items()})
        for key in (*algo["args"]["train_kwargs"], *algo["args"]["eval_kwargs"]):
            assert key.split("#")[0] in train, key
        assert client["dataset_dir"].endswith(site) and client["executors"][0]["executor"]["args"]["key_metric"] == "val_dice"
    server = json.loads((folder / "server" / "config" / "config_fed_server.json").read_text(encoding="utf-8"))
    assert (repository / server["components"][0]["args"]["source_ckpt_filename"]).is_file()
    assert np.isfinite(server["rounds"])
