"""The engine of a classifier: one answer for a scan, by hand; what it cannot do is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from light_evaluator import scan
from monai.data import Dataset
from monai.transforms import Compose, EnsureChannelFirstd

from bundle.data.load_scan import LoadScand
from bundle.engines import CaseHandler
from bundle.engines.classify import ClassEvaluator
from bundle.errors import UserError


class Answers:
    """An inferer that gives one answer for every scan."""

    def __init__(self, *logits: float) -> None:
        self.logits = torch.tensor([logits])

    def __call__(self, volume: torch.Tensor, network: object) -> torch.Tensor:
        assert volume.shape == (1, 1, 10, 9, 8)
        return self.logits

    def attention(self, volume: torch.Tensor, network: object) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        return self.logits, {3: torch.ones(1, 1, 10, 9, 8)}


class Found(CaseHandler):
    """Keeps the probabilities and the maps of each scan."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def predicted(self, case) -> None:
        self.seen.append((case.data["pred"].tolist(), {level: tuple(alpha.shape) for level, alpha in case.attention.items()}))


def run(tmp_path: Path, inferer: Answers, network: torch.nn.Module | None = None, **keys) -> tuple[ClassEvaluator, Found]:
    path, found = scan(tmp_path / "a.nii"), Found()
    items = [{"case": "a", "source": str(path), "image": str(path)}]
    dataset = Dataset(items, Compose([LoadScand("image"), EnsureChannelFirstd("image")]))
    network = network or torch.nn.Identity()
    given = {"device": "cpu", "dataset": dataset, "network": network, "postprocessing": lambda data: data, "val_handlers": [found]}
    engine = ClassEvaluator(inferer=inferer, **given, **keys)
    engine.run()
    return engine, found


def test_the_answer_is_the_softmax_of_the_logits(tmp_path):
    _, found = run(tmp_path, Answers(0.0, 0.0, 1.0986123))  # 1, 1 and 3 of 5
    assert [(pytest.approx([0.2, 0.2, 0.6], abs=1e-6), {})] == found.seen


def test_maps_are_kept_where_they_are_asked_for_and_the_network_has_gates(tmp_path):
    gated = torch.nn.Identity()
    gated.attention = lambda x: x
    _, found = run(tmp_path, Answers(0.0, 0.0), gated, attention=True)
    assert found.seen[0][1] == {3: (1, 10, 9, 8)}
    with pytest.raises(UserError, match="this network has no gates"):
        run(tmp_path, Answers(0.0, 0.0), attention=True)


def test_an_answer_that_is_not_finite_fails_its_scan(tmp_path):
    engine, found = run(tmp_path, Answers(0.0, float("nan")))
    assert found.seen == [] and "not finite" in str(engine.failed[0].error)


def test_there_are_no_flips():
    with pytest.raises(UserError, match="flips: a classifier has none"):
        ClassEvaluator(inferer=Answers(0.0), flips=True)
