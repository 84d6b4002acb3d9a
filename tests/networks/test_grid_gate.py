"""The gate is equations (1) to (3) of the paper, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from bundle.networks import GridAttentionGate


def hand_gate(align_corners: bool = False) -> GridAttentionGate:
    """One channel each: theta sums the 2x2 voxels, phi is 3 g - 1, psi is 0.5 f - 2, W and its batch norm change nothing."""
    gate = GridAttentionGate(2, 1, 1, 1, align_corners=align_corners).eval()
    for weight, value in ((gate.theta.weight, 1), (gate.phi.weight, 3), (gate.psi.weight, 0.5), (gate.W.weight, 1)):
        torch.nn.init.constant_(weight, value)
    for bias, value in ((gate.phi.bias, -1), (gate.psi.bias, -2), (gate.W.bias, 0)):
        torch.nn.init.constant_(bias, value)
    gate.norm.eps = 0.0
    torch.nn.init.ones_(gate.norm.weight)
    torch.nn.init.zeros_(gate.norm.bias)
    gate.norm.reset_running_stats()
    return gate


def sigmoid(q: float) -> float:
    return 1 / (1 + math.exp(-q))


def test_coefficients_by_hand():
    """x's two 2x2 fields sum to 4 and 8; g = 2 and -1 give phi 5 and -4: f = 9 and 4, q = 2.5 and 0."""
    x = torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2]])[None, None]
    g = torch.tensor([[[[2.0, -1.0]]]])
    gated, alpha = hand_gate()(x, g)
    left, right = sigmoid(2.5), 0.5
    # corners not aligned: voxels at 1/4 and 3/4 of the way between the two
    expected = [left, 0.75 * left + 0.25 * right, 0.25 * left + 0.75 * right, right]
    assert torch.allclose(alpha[0, 0], torch.tensor([expected, expected]), atol=1e-6)
    assert torch.allclose(gated, alpha * x)


def test_relu_cuts_before_psi():
    """theta + phi = 4 - 10 is below zero, so q is psi's bias alone."""
    _, alpha = hand_gate()(torch.ones(1, 1, 2, 2), torch.full((1, 1, 1, 1), -3.0))
    assert torch.allclose(alpha, torch.tensor(sigmoid(-2)))


def test_corners_aligned_or_not():
    x = torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2]])[None, None]
    g = torch.tensor([[[[2.0, -1.0]]]])
    left, right = sigmoid(2.5), 0.5
    _, alpha = hand_gate(align_corners=True)(x, g)
    assert torch.allclose(alpha[0, 0, 0], torch.tensor([left, (2 * left + right) / 3, (left + 2 * right) / 3, right]))


def test_gradient_of_the_skip_is_scaled_by_alpha():
    """Equation (3): d(alpha x) = alpha dx + x d(alpha). With psi constant, alpha does not depend on x, and alpha is left."""
    gate = hand_gate()
    torch.nn.init.zeros_(gate.psi.weight)
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    gated, alpha = gate(x, torch.randn(1, 1, 2, 2))
    seed = torch.randn_like(gated)
    (gradient,) = torch.autograd.grad(gated, x, seed)
    assert torch.allclose(gradient, sigmoid(-2) * seed)
    # in general, the second term comes on top
    gate = hand_gate()
    gated, alpha = gate(x, torch.randn(1, 1, 2, 2))
    (gradient,) = torch.autograd.grad(gated, x, seed, retain_graph=True)
    (through_alpha,) = torch.autograd.grad(alpha, x, seed * x)
    assert torch.allclose(gradient, alpha * seed + through_alpha, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 7, 6), (4, 4, 4), (9, 8)])
def test_any_size_of_skip_and_gating_signal(size):
    torch.manual_seed(0)
    gate = GridAttentionGate(len(size), 3, 5)
    gated, alpha = gate(torch.randn(2, 3, *size), torch.randn(2, 5, *[2] * len(size)))
    assert gated.shape == (2, 3, *size)
    assert alpha.shape == (2, 1, *size)
    assert 0 <= alpha.min() < alpha.max() <= 1


def test_inter_channels_and_dropout_have_an_effect():
    x, g = torch.randn(1, 4, 8, 8), torch.randn(1, 2, 4, 4)
    assert GridAttentionGate(2, 4, 2).theta.weight.shape == (4, 4, 2, 2)
    assert GridAttentionGate(2, 4, 2, 7).theta.weight.shape == (7, 4, 2, 2)
    gated, _ = GridAttentionGate(2, 4, 2, dropout=0.5)(x, g)
    assert 0.2 < (gated == 0).float().mean() < 0.8
    assert (GridAttentionGate(2, 4, 2)(x, g)[0] != 0).all()


def test_w_and_its_batch_norm():
    """W = 2 with bias 1, then (y - 3) / sqrt(4) * 10 + 0.5."""
    gate = hand_gate()
    torch.nn.init.constant_(gate.W.weight, 2)
    torch.nn.init.constant_(gate.W.bias, 1)
    torch.nn.init.constant_(gate.norm.weight, 10)
    torch.nn.init.constant_(gate.norm.bias, 0.5)
    gate.norm.running_mean.fill_(3)
    gate.norm.running_var.fill_(4)
    x = torch.full((1, 1, 2, 2), 6.0)
    gated, _ = gate(x, torch.zeros(1, 1, 1, 1))  # f = 24 - 1, q = 9.5
    expected = (2 * sigmoid(9.5) * 6 + 1 - 3) / 2 * 10 + 0.5
    assert torch.allclose(gated, torch.tensor(expected))


@pytest.mark.parametrize("arguments", [(1, 4, 4), (3, 0, 4), (3, 4, 0), (3, 4, 4, 0)])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="a gate has 2 or 3 spatial_dims and at least one channel"):
        GridAttentionGate(*arguments)


def test_gate_scripts():
    gate = GridAttentionGate(3, 3, 5).eval()
    x, g = torch.randn(1, 3, 8, 6, 4), torch.randn(1, 5, 4, 3, 2)
    assert torch.allclose(torch.jit.script(gate)(x, g)[0], gate(x, g)[0], atol=1e-6)
    assert F.mse_loss(gate(x, g)[1], gate.coefficients(x, g).repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)) < 0.05
