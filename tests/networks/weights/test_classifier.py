"""Weights of a classifier come back with what they mean, and start another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bundle.errors import UserError
from bundle.networks import AttentionSononet
from bundle.networks.weights import write_checkpoint
from bundle.networks.weights.average import average
from bundle.networks.weights.classifier import LearntWith, read_classifier, start_from
from bundle.networks.weights.half import half_precision

SMALL = {"channels": [2, 2, 2, 2], "convolutions": [1, 1, 1, 1, 1]}
SEEN = {"classes": ["a", "b"], "spatial_dims": 2, "spacing": [2.0, 2.0, 2.0], "hu_range": [-200, 300], "patch_size": [16, 16, 1]}


def saved(path: Path, network: torch.nn.Module, **keys: object) -> Path:
    write_checkpoint({"model": network.state_dict(), "learnt_with": LearntWith(network, **(SEEN | keys)).state_dict()}, path)
    return path


def test_the_file_describes_its_network(tmp_path: Path) -> None:
    network = AttentionSononet(2, 1, 2, aggregation="fine_tuned", normalisation="softmax", **SMALL).eval()
    read, learnt = read_classifier(saved(tmp_path / "model.pt", network))
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(read(x), network(x)) and read.aggregation == "fine_tuned"
    assert {name: learnt[name] for name in SEEN} == SEEN


def test_half_precision_and_the_mean_keep_what_the_weights_mean(tmp_path: Path) -> None:
    network = AttentionSononet(2, 1, 2, **SMALL)
    path = str(saved(tmp_path / "model.pt", network))
    half_precision(path, str(tmp_path / "half.pt"))
    average(str(tmp_path / "mean.pt"), path, str(tmp_path / "half.pt"))
    for name in ("half.pt", "mean.pt"):
        assert read_classifier(tmp_path / name)[1] == read_classifier(path)[1]
    write_checkpoint({"model": network.state_dict(), "epoch": 3}, tmp_path / "last.pt")
    average(str(tmp_path / "mean.pt"), str(tmp_path / "last.pt"), path)
    assert read_classifier(tmp_path / "mean.pt")[1]["classes"] == ["a", "b"]
    half_precision(path, path)
    assert read_classifier(path)[1]["classes"] == ["a", "b"]
    other = saved(tmp_path / "other.pt", network, classes=["b", "a"])
    with pytest.raises(UserError, match=r"other\.pt: was trained with other classes or settings than .*half\.pt"):
        average(str(tmp_path / "no.pt"), str(tmp_path / "half.pt"), str(other))
    assert not (tmp_path / "no.pt").exists()


def test_a_network_of_another_kind_is_given(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pt", torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="its network is none of this bundle's"):
        read_classifier(path)
    assert isinstance(read_classifier(path, torch.nn.Linear(2, 2))[0], torch.nn.Linear)
    with pytest.raises(UserError, match="of another network"):
        read_classifier(path, torch.nn.Linear(3, 2))


def test_weights_that_say_nothing_about_classes(tmp_path: Path) -> None:
    write_checkpoint({"model": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="does not say which classes it knows"):
        read_classifier(tmp_path / "model.pt")


def test_another_aggregation_starts_from_what_fits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    mean, tuned = (AttentionSononet(2, 1, 2, aggregation=name, **SMALL) for name in ("mean", "fine_tuned"))
    last = tuned.classifier.weight.clone()
    assert start_from(tuned, None) is tuned
    start_from(tuned, saved(tmp_path / "model.pt", mean))
    for name, value in mean.state_dict().items():
        assert torch.equal(tuned.state_dict()[name], value)
    assert torch.equal(tuned.classifier.weight, last), "what the file lacks stays"
    assert "tensors taken over" in capsys.readouterr().out
    with pytest.raises(UserError, match="fits no layer"):
        start_from(torch.nn.Linear(7, 7), tmp_path / "model.pt")
