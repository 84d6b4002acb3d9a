"""The time of one forward pass: what is timed, on which volume."""

from __future__ import annotations

import time

import pytest
import torch
from monai.networks import nets

from bundle.evaluation.forward_time import forward_seconds, of_config

takes: list[float] = []
seen: list[tuple[int, ...]] = []


class Sleeper(torch.nn.Module):
    """A network that takes the seconds it is told, pass by pass, and notes what it is given."""

    in_channels = 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled() and not self.training
        seen.append(tuple(x.shape))
        time.sleep(takes.pop(0))
        return x


def test_the_best_of_the_passes_after_the_first() -> None:
    """The first pass, which is the fastest here, is not timed; of the others 0.05 s is the best."""
    takes[:] = [0.0, 0.5, 0.05, 0.5]
    assert 0.05 <= forward_seconds(Sleeper(), (8, 7, 6)) < 0.5
    assert seen == [(1, 2, 8, 7, 6)] * 4


def test_a_network_that_takes_multiples_gets_them() -> None:
    """As in training and inference; MONAI's UNet does not take 36 voxels."""
    assert forward_seconds(nets.UNet(3, 1, 2, (2, 2, 4, 4), (2, 2, 2)), (36, 36, 36), repeats=1) > 0


def test_of_a_configuration() -> None:
    network = {"_target_": "bundle.networks.AttentionUnet", "out_channels": "$len(@labels)", "channels": [2, 4], "num_gates": 0}
    found = of_config({"network_def": network, "labels": {"background": 0, "pancreas": 1}, "patch_size": [16, 16, 32]})
    assert found["size"] == [16, 16, 32] and found["seconds"] > 0 and found["device"]


def test_of_a_configuration_whose_channels_are_counted() -> None:
    """As in train.json; a plan from before there were several channels has no such key."""
    network = {"_target_": "bundle.networks.AttentionUnet", "in_channels": "$bundle.channels.count(@channels)", "out_channels": 2}
    config = {"network_def": network | {"channels": [2, 4], "num_gates": 0}, "labels": {}, "patch_size": [16, 16, 32]}
    two = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
    assert of_config(config)["seconds"] > 0 and of_config(config | {"channels": two})["seconds"] > 0


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()])
def test_without_memory_there_is_no_time(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The table of an experiment is not to wait for it."""

    def full(*arguments: object, **options: object) -> float:
        raise error

    monkeypatch.setattr("bundle.evaluation.forward_time.forward_seconds", full)
    config = {"network_def": {"_target_": "torch.nn.Identity"}, "labels": {}, "patch_size": [16, 16, 32]}
    assert of_config(config)["seconds"] is None
    monkeypatch.setattr("bundle.evaluation.forward_time.forward_seconds", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        of_config(config)
