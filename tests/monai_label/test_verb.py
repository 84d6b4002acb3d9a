"""The app that the verb `monai-label` lays out, served: strategies for active learning, and training from scratch by its own option."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from label_server import Server

from bundle.serving.monai_label import MODEL, prepare, server_command, server_environment


@pytest.fixture(scope="module")
def verb_server(work: Path, studies: Path, labels: Path) -> Iterator[Server]:
    """The verb's app over three small scans, two of which have labels; a small patch, as the docs advise for CPUs."""
    few = work / "few"
    (few / "labels" / "final").mkdir(parents=True)
    for case in ("abdomen_001", "abdomen_002", "abdomen_003", "abdomen_004"):
        shutil.copyfile(studies / f"{case}.nii.gz", few / f"{case}.nii.gz")
    # the first of all, and it cannot be read
    (few / "abdomen_000.nii.gz").write_bytes(b"no scan")
    for case in ("abdomen_001", "abdomen_002"):
        shutil.copyfile(labels / f"{case}.nii.gz", few / "labels" / "final" / f"{case}.nii.gz")
    app = prepare(work / "verb-app")
    config = app / "model" / MODEL / "configs" / "train.json"
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {"patch_size": [32, 32, 32]}))
    command = server_command(os.environ["MONAI_LABEL_PYTHON"], app, str(few), scoring="doubt")
    variables = {"MONAI_LABEL_AUTO_UPDATE_SCORING": "false", "MONAI_LABEL_SESSION_PATH": str(work / "sessions")}
    reports = {key: value for key, value in server_environment().items() if key not in os.environ}
    with Server(command, work / "verb-server", variables | reports) as started:
        started.wait_until_ready()
        yield started


def test_info_lists_scoring_and_strategies(verb_server: Server) -> None:
    info = verb_server.json("GET", "/info/")
    assert set(info["strategies"]) == {"random", "first", "epistemic", "doubt"}
    assert "doubt" in info["scoring"] and MODEL in info["trainers"] and MODEL in info["models"]


def test_the_most_doubtful_scan_comes_first(verb_server: Server) -> None:
    task = verb_server.run_task("scoring", "doubt")
    assert task["status"] == "DONE", verb_server.log()[-4000:]
    assert "abdomen_000 has no score" in verb_server.log()
    objects = verb_server.json("GET", "/datastore/?output=all")["objects"]
    doubts = {name: entry["image"]["info"]["doubt"] for name, entry in objects.items() if "doubt" in entry["image"]["info"]}
    assert set(doubts) == {"abdomen_003", "abdomen_004"} and all(0 <= doubt <= 1 for doubt in doubts.values()), doubts
    chosen = verb_server.json("POST", "/activelearning/doubt", {})["id"]
    assert doubts[chosen] == max(doubts.values())


def test_pretrained_off_trains_from_scratch(verb_server: Server, work: Path, tmp_path: Path) -> None:
    weights = work / "verb-app" / "model" / MODEL / "models" / "model.pt"
    shutil.copyfile(weights, tmp_path / "before.pt")
    task = verb_server.run_task("train", MODEL, max_epochs=1, pretrained=False)
    assert task["status"] == "DONE", verb_server.log()[-4000:]
    assert "Add Checkpoint Loader" not in verb_server.log()
    before, after = (torch.load(file, map_location="cpu", weights_only=True) for file in (tmp_path / "before.pt", weights))
    before, after = before.get("model", before), after.get("model", after)
    first = next(key for key, value in before.items() if value.ndim == 5)
    assert not torch.allclose(before[first].float(), after[first].float(), atol=1e-3)


def test_nothing_left_the_machine(verb_server: Server) -> None:
    assert verb_server.traffic() == ""
