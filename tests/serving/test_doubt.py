"""`bundle.serving.doubt`: which scans are scored, and that one that fails stops nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import UserError
from bundle.serving.doubt import score

SCORES = {"a": 0.25, "c": 1.0}


class Studies:
    """MONAI Label's folder of studies, as far as scoring knows it."""

    def __init__(self) -> None:
        self.info: dict[str, dict[str, Any]] = {name: {"note": name} for name in "abc"}

    def get_unlabeled_images(self) -> list[str]:
        return list(self.info)

    def get_image_info(self, image: str) -> dict[str, Any]:
        return self.info[image]

    def get_image_uri(self, image: str) -> str:
        return f"/studies/{image}.nii.gz"

    def update_image_info(self, image: str, info: dict[str, Any]) -> None:
        self.info[image].update(info)


class Network:
    """A task of MONAI Label's that cannot read the scan `b`."""

    def __init__(self, weights: Path) -> None:
        self.weights, self.asked = weights, []

    def get_path(self) -> str:
        return str(self.weights)

    def __call__(self, request: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        self.asked.append(request)
        name = Path(request["image"]).name[0]
        if name == "b":
            raise UserError(request["image"], "the file is truncated", "copy it again")
        return None, {"result": {"score": SCORES[name], "reasons": [name]}}


def test_a_scan_that_fails_is_named_and_the_others_are_scored_once_for_each_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model.pt").write_text("weights")
    os.utime(tmp_path / "model.pt", (100, 100))
    studies, network = Studies(), Network(tmp_path / "model.pt")
    found = score(network, studies, "cuda:1")
    assert {key: found[key] for key in ("total", "skipped", "executed", "failed")} == {"total": 3, "skipped": 0, "executed": 2, "failed": 1}
    assert studies.info["a"] == {"note": "a", "doubt": 0.75, "reasons": ["a"], "doubt_ts": 100}
    assert studies.info["b"] == {"note": "b"} and studies.info["c"]["doubt"] == 0.0
    assert "b has no score: /studies/b.nii.gz: the file is truncated" in caplog.text
    assert network.asked[0] == {"image": "/studies/a.nii.gz", "device": "cuda:1", "quality_record": True, "skip_writer": True}
    caplog.set_level(logging.CRITICAL)
    assert score(network, studies)["skipped"] == 2 and len(network.asked) == 4
    os.utime(tmp_path / "model.pt", (200, 200))
    assert score(network, studies)["executed"] == 2 and studies.info["c"]["doubt_ts"] == 200
