"""Activation checkpointing changes memory and time, nothing else."""

from __future__ import annotations

import pytest
import torch

from bundle.networks import AttentionUnet


def trained(checkpointing: bool, **arguments) -> AttentionUnet:
    """One forward and backward pass of a seeded network."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 6, 8), checkpointing=checkpointing, **arguments).train()
    torch.manual_seed(1)
    network(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
    return network


@pytest.mark.parametrize("arguments", [{}, {"blocks": "residual"}, {"blocks": "dense"}, {"dropout": 0.3}])
def test_same_gradients_and_running_statistics(arguments):
    plain, saving = trained(False, **arguments), trained(True, **arguments)
    assert all(module.checkpointing for module in (*saving.encoder, saving.centre))
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-7), name
    for (name, one), other in zip(plain.named_buffers(), saving.named_buffers(), strict=True):
        assert torch.equal(one, other[1]), name
    assert plain.encoder[0].state_dict().keys() == saving.encoder[0].state_dict().keys()


def kept_bytes(checkpointing: bool) -> int:
    """Bytes that autograd keeps between the forward and the backward pass."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 6, 8), checkpointing=checkpointing).train()
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = network(torch.randn(1, 1, 32, 32, 32))
    assert kept.requires_grad
    return sum(seen.values())


def test_keeps_less():
    assert kept_bytes(True) < 0.6 * kept_bytes(False)
