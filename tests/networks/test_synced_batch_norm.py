"""Batch norms over several processes: what one process with all batches computes, forward, backward and in what it remembers."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from bundle.networks import AttentionUnet
from bundle.networks.synced_batch_norm import SyncedBatchNorm, synced


@pytest.fixture
def two_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a second process did the same with the same batch: every sum is doubled."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.mul_(2))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_two_processes_are_one_with_both_batches(two_alike: None, momentum: float | None) -> None:
    torch.manual_seed(0)
    whole = nn.BatchNorm3d(3, momentum=momentum)
    nn.init.normal_(whole.weight), nn.init.normal_(whole.bias)
    part = SyncedBatchNorm.of(nn.BatchNorm3d(3, momentum=momentum))
    part.load_state_dict(whole.state_dict())
    # far from zero: the variance as a difference of squares would lose half of its digits
    x = torch.randn(2, 3, 4, 3, 2) + 300
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    for _ in range(2):
        found, expected = part(ours), whole(torch.cat([theirs, theirs.detach()]))[:2]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(x)
    # the gradient of the sum of the losses of both processes
    (part(ours) * weights).sum().backward()
    both = torch.cat([theirs, theirs])
    both.retain_grad()
    (whole(both) * torch.cat([weights, weights])).sum().backward()
    torch.testing.assert_close(ours.grad, both.grad[:2], rtol=1e-3, atol=1e-3)
    # of parameters each process has its share, and PyTorch's wrapper takes the mean
    torch.testing.assert_close(part.weight.grad * 2, whole.weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(part.bias.grad * 2, whole.bias.grad)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(part.state_dict()[name], value, rtol=1e-5, atol=1e-5)


def test_alone_and_in_eval_it_is_a_usual_one() -> None:
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 4, channels=(2, 2, 4, 4, 4))
    state, x = {name: value.clone() for name, value in network.state_dict().items()}, torch.randn(1, 1, 32, 32, 32)
    parameters = list(network.parameters())
    expected = network.eval()(x)
    changed = synced(network, "cpu")
    assert any(isinstance(module, SyncedBatchNorm) for module in changed.modules())
    assert not any(type(module) is nn.BatchNorm3d for module in changed.modules())
    assert all(one is other for one, other in zip(changed.parameters(), parameters, strict=True))
    assert list(changed.state_dict()) == list(state) and torch.equal(changed(x), expected)
    assert changed.train()(x).shape == expected.shape


def test_takes_scans_of_monai(two_alike: None) -> None:
    batch = MetaTensor(torch.randn(2, 1, 4, 4, 4))
    norm = SyncedBatchNorm.of(nn.BatchNorm3d(1))
    assert torch.allclose(norm(batch).mean(), torch.zeros(()), atol=1e-5)
