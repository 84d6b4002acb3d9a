"""Activation checkpointing changes memory and time, nothing else."""

from __future__ import annotations

import pytest
import torch

from bundle.networks import AttentionUnet
from bundle.networks.fast import after_norm


def trained(checkpointing: bool, **arguments) -> AttentionUnet:
    """One forward and backward pass of a seeded network."""
    torch.manual_seed(0)
    network = AttentionUnet(**{"out_channels": 2, "channels": (4, 6, 8), "checkpointing": checkpointing, **arguments}).train()
    layout = torch.channels_last_3d if network.spatial_dims == 3 else torch.channels_last
    torch.manual_seed(1)
    image = torch.randn(2, 1, *[16] * network.spatial_dims)
    logits = network.to(memory_format=layout)(image.contiguous(memory_format=layout))
    sum(one.square().mean() for one in (logits if isinstance(logits, list) else [logits])).backward()
    return network


KINDS = [{"blocks": "residual"}, {"blocks": "dense"}, {"dropout": 0.3}, {"spatial_dims": 2}, {"num_gates": 0}, {"gate": "paper"}]
KINDS += [{"encoder_gates": True}, {"attention_features": True}, {"deep_supervision": "auxiliary"}]


@pytest.mark.parametrize("arguments", [{}, *KINDS])
def test_same_gradients_and_running_statistics(arguments):
    plain, saving = trained(False, **arguments), trained(True, **arguments)
    assert all(module.checkpointing for module in (*saving.encoder, saving.centre))
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-7), name
    for (name, one), other in zip(plain.named_buffers(), saving.named_buffers(), strict=True):
        assert torch.equal(one, other[1]), name
    assert plain.encoder[0].state_dict().keys() == saving.encoder[0].state_dict().keys()


@pytest.mark.parametrize("arguments", [{}, {"blocks": "residual"}, {"dropout": 0.3}, {"align_corners": True}, {"classes": [1]}])
def test_the_same_a_slab_at_a_time(monkeypatch, arguments):
    """Large features, which go through their norms a slab at a time, here all of them."""
    plain, calls, forward = trained(False, **arguments), [], after_norm._AfterNorm.forward
    monkeypatch.setattr(after_norm, "SLAB_BYTES", 0)
    monkeypatch.setattr(after_norm, "ONE_DNN_ROWS", 0)
    monkeypatch.setattr(after_norm, "PIECE_BYTES", 16 * 16 * 4 * 4 * 5)
    monkeypatch.setattr(after_norm._AfterNorm, "forward", lambda ctx, x, *others: calls.append(x.shape) or forward(ctx, x, *others))
    saving = trained(True, **arguments)
    finest = [tuple(shape) for shape in calls].count((2, 4, 16, 16, 16))
    # two norms each way, those of the encoder twice; fewer where a block is another, or something lies between its parts
    assert finest == 6 if set(arguments) <= {"classes"} else finest > 0
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        # the gradients of biases before a norm are zeros but for rounding
        assert (one.grad - other.grad).abs().max() <= 1e-4 * one.grad.abs().max() + 1e-5, name
    for (name, one), other in zip(plain.named_buffers(), saving.named_buffers(), strict=True):
        assert torch.allclose(one.float(), other[1].float(), rtol=1e-4, atol=1e-6), name


def test_features_of_the_finest_level_before_their_norms_are_all_that_is_kept_of_it(monkeypatch):
    """Three times its size: the skip, and what the two convolutions of the decoder give."""
    monkeypatch.setattr(after_norm, "SLAB_BYTES", 0)
    kept = [numel for numel in kept_sizes(True) if numel == 4 * 32**3]
    assert len(kept) == 3
    assert len([numel for numel in kept_sizes(False) if numel == 4 * 32**3]) == 8


def kept_bytes(checkpointing: bool) -> int:
    """Bytes that autograd keeps between the forward and the backward pass."""
    return 4 * sum(kept_sizes(checkpointing))


def kept_sizes(checkpointing: bool) -> list[int]:
    """Numbers in each tensor that autograd keeps between the forward and the backward pass."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 6, 8), checkpointing=checkpointing).train()
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = network(torch.randn(1, 1, 32, 32, 32))
    assert kept.requires_grad
    return list(seen.values())


def test_keeps_less():
    assert kept_bytes(True) < 0.6 * kept_bytes(False)
