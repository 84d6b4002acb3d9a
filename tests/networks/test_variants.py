"""Each variant of the gate by numbers worked out by hand, and in the network."""

from __future__ import annotations

import math

import pytest
import torch

from bundle.networks import AttentionUnet
from bundle.networks.grid_gate import GridAttentionGate
from bundle.networks.variants import (
    GATES,
    ChannelwiseGate,
    DualGate,
    GlobalGate,
    LinearGate,
    MultiheadGate,
    MultiplicativeGate,
    NonlocalGate,
    PaperGate,
    ResidualGate,
    SoftmaxGate,
    attend,
)


def sigmoid(q: float) -> float:
    return 1 / (1 + math.exp(-q))


def plain(gate):
    """theta sums the 2x2 voxels, phi is g, psi is f summed, W is the identity; no bias anywhere."""
    for module in (gate.theta, gate.phi, gate.psi):
        torch.nn.init.ones_(module.weight)
    for module in (gate.phi, gate.psi, gate.W):
        torch.nn.init.zeros_(module.bias)
    gate.W.weight.data.copy_(torch.eye(gate.W.weight.shape[0]).reshape(gate.W.weight.shape))
    gate.norm.eps = 0.0
    return gate.eval()


X = torch.full((1, 1, 2, 2), 0.5)  # theta 2
G = torch.full((1, 1, 1, 1), -3.0)


def test_paper_by_hand():
    """theta sees the mean 0.5 of the 2x2 voxels: q = relu(0.5 + 1) = 1.5, and x times alpha is all."""
    gate = PaperGate(2, 1, 1)
    for module in (gate.theta, gate.phi, gate.psi):
        torch.nn.init.ones_(module.weight)
    for module in (gate.phi, gate.psi):
        torch.nn.init.zeros_(module.bias)
    x = torch.tensor([[0.0, 1.0], [2.0, -1.0]]).reshape(1, 1, 2, 2)
    gated, alpha = gate(x, torch.ones(1, 1, 1, 1))
    assert torch.allclose(alpha, torch.tensor(sigmoid(1.5))) and torch.allclose(gated, sigmoid(1.5) * x)
    assert sorted(name for name, _ in gate.named_parameters()) == ["phi.bias", "phi.weight", "psi.bias", "psi.weight", "theta.weight"]


def test_papers_number_of_parameters():
    """6.40 M as the paper cuts its digits (its 5.88 M are 5,888,004); docs/network.md has the arithmetic."""

    def count(**arguments) -> int:
        return sum(p.numel() for p in AttentionUnet(3, 1, 4, num_gates=1, gate="paper", gating_conv=False, **arguments).parameters())

    pairs = [(32, 64), (64, 128), (128, 256)]  # channels of the skips 2 to 4, and of what gates them
    for width, expected in ((None, 5_952_967), (8, 6_407_687)):
        by_hand = sum((width or 1) * skip * (skip + coarse + 1 + 1) + 1 for skip, coarse in pairs)
        assert count(gate_width=width) == 5_888_004 + by_hand == expected
    assert count(gate_width=8) // 10_000 == 640
    assert sum(p.numel() for p in AttentionUnet(3, 1, 4, num_gates=0).parameters()) // 10_000 == 588


def test_several_bare_gates_are_averaged():
    torch.manual_seed(0)
    skip = AttentionUnet(2, 1, 2, (4, 4, 6), gate="paper", init="authors").skips[0]
    x, g = torch.randn(1, 4, 4, 4), torch.randn(1, 6, 2, 2)
    gated, alphas = skip(x, g)
    assert torch.allclose(gated, x * (alphas[0] + alphas[1]) / 2, atol=1e-6) and not torch.allclose(alphas[0], alphas[1])


def test_residual_adds_the_skip():
    """f = relu(2 - 3) = 0, alpha = 1/2: x times 1.5."""
    gated, alpha = plain(ResidualGate(2, 1, 1))(X, G)
    assert torch.allclose(alpha, torch.tensor(0.5))
    assert torch.allclose(gated, 1.5 * X)


def test_multiplicative_multiplies():
    """q = 2 * -3, not cut at zero."""
    gated, alpha = plain(MultiplicativeGate(2, 1, 1))(X, G)
    assert torch.allclose(alpha, torch.tensor(sigmoid(-6)))
    assert torch.allclose(gated, sigmoid(-6) * X)


def test_softmax_shares_one_among_voxels():
    """Fields of sum 2 and 2 + log 3: alpha 1/4 and 3/4, times two coefficients."""
    x = torch.full((1, 1, 2, 4), 0.5)
    x[..., 2:] += math.log(3) / 4
    gated, alpha = plain(SoftmaxGate(2, 1, 1))(x, torch.zeros(1, 1, 1, 2))
    assert torch.allclose(alpha[0, 0, 0], torch.tensor([0.25, 0.375, 0.625, 0.75]))
    assert torch.allclose(gated, 2 * alpha * x)


def test_channelwise_has_one_coefficient_per_channel():
    gate = plain(ChannelwiseGate(2, 2, 1, 1))
    gate.psi.bias.data.copy_(torch.tensor([0.0, -1.0]))
    x = torch.cat([X, 2 * X], dim=1)  # theta 2 + 4, f = 3
    gated, alpha = gate(x, G)
    assert torch.allclose(alpha[0, :, 0, 0], torch.tensor([sigmoid(3), sigmoid(2)]))
    assert torch.allclose(gated, alpha * x)


def test_dual_multiplies_where_and_what():
    """Where: psi sums relu(2) and relu(-3); what: the averages 0.5 and -3, weighted 1 each."""
    gate = plain(DualGate(2, 1, 1))
    torch.nn.init.ones_(gate.channels.weight)
    torch.nn.init.zeros_(gate.channels.bias)
    gated, alpha = gate(X, G)
    assert torch.allclose(alpha, torch.tensor(sigmoid(2) * sigmoid(-2.5)))
    assert torch.allclose(gated, alpha * X)


def test_linear_has_no_rectifier():
    """q = 2 - 3 = -1, which a ReLU would have cut to 0."""
    gated, alpha = plain(LinearGate(2, 1, 1))(X, G)
    assert torch.allclose(alpha, torch.tensor(sigmoid(-1)))
    assert torch.allclose(gated, sigmoid(-1) * X)


def test_linear_is_one_map_of_the_concatenation():
    torch.manual_seed(0)
    gate = LinearGate(3, 3, 5)
    x, g = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 5, 2, 2, 2)
    logit = lambda a, b: torch.logit(gate.coefficients(a, b).double(), eps=1e-9)  # noqa: E731
    zero = logit(0 * x, 0 * g)
    assert torch.allclose(logit(x, g) - zero, (logit(x, 0 * g) - zero) + (logit(0 * x, g) - zero), atol=1e-4)


def test_global_gates_by_the_average():
    """g of -3 and 1 has the average -1: q = relu(2 - 1) everywhere; the grid gate has relu(2 - 3) and relu(2 + 1)."""
    x, g = torch.full((1, 1, 2, 4), 0.5), torch.tensor([-3.0, 1.0]).reshape(1, 1, 1, 2)
    assert torch.allclose(plain(GlobalGate(2, 1, 1))(x, g)[1], torch.tensor(sigmoid(1)))
    own = plain(GridAttentionGate(2, 1, 1)).coefficients(x, g)
    assert torch.allclose(own.flatten(), torch.tensor([sigmoid(0), sigmoid(3)]))


def test_attention_by_hand():
    """One query 1, keys 0 and log 3 (width 1, so no scaling): weights 1/4 and 3/4 of the values 4 and 8."""
    one = lambda *values: torch.tensor(values).reshape(1, 1, 1, -1)  # noqa: E731
    answer = attend(one(1.0), one(0.0, math.log(3)), one(4.0, 8.0), heads=1)
    assert torch.allclose(answer, torch.tensor(7.0))


def test_heads_attend_apart():
    q, k, v = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 3, 1), torch.randn(1, 4, 3, 1)
    together = attend(q, k, v, heads=2)
    apart = torch.cat([attend(q[:, s], k[:, s], v[:, s], heads=1) for s in (slice(0, 2), slice(2, 4))], dim=1)
    assert torch.allclose(together, apart, atol=1e-6)


def test_multihead_gates_by_the_answer():
    """All keys and values are the same voxel g = -3: the answer is phi(g) = -3, so alpha is that of the additive gate."""
    gate = MultiheadGate(2, 1, 1, heads=1)
    torch.nn.init.ones_(gate.keys.weight)
    gated, alpha = plain(gate)(X, G)
    assert torch.allclose(alpha, torch.tensor(0.5)) and torch.allclose(gated, 0.5 * X)


def test_nonlocal_by_hand():
    """Keys 0 and log 3 for every query 1: each voxel is told 1/4 * 0 + 3/4 * log 3, and gated as ever."""
    gate = NonlocalGate(2, 1, 1, 1)
    for conv, weight in ((gate.query, 0.0), (gate.keys, 0.25), (gate.values, 0.25), (gate.out, 1.0)):
        torch.nn.init.constant_(conv.weight, weight)
        torch.nn.init.zeros_(conv.bias)
    torch.nn.init.ones_(gate.query.bias)
    x = torch.zeros(1, 1, 2, 4)
    x[..., 2:] = math.log(3)  # the mean of each 2x2 block: 0 and log 3
    told = x + 0.75 * math.log(3)
    assert torch.allclose(gate.features(x), told)
    gated, alpha = plain(gate)(x, torch.zeros(1, 1, 1, 2))
    expected, expected_alpha = plain(GridAttentionGate(2, 1, 1))(told, torch.zeros(1, 1, 1, 2))
    assert torch.allclose(alpha, expected_alpha) and torch.allclose(gated, expected)


def test_dear_gates_are_on_the_coarsest_skip_alone():
    for kind in ("multihead", "nonlocal"):
        network = AttentionUnet(3, 1, 2, (4, 8, 8, 8), gate=kind)
        assert [type(skip.gates[0]) for skip in network.skips[:2]] == [GATES[kind], GridAttentionGate]


@pytest.mark.parametrize("gate", GATES)
def test_every_variant_trains_in_the_network(gate):
    torch.manual_seed(0)
    wanted = dict.fromkeys(("encoder_gates", "decoder_gates", "attention_features", "encoder_maps"), True)
    network = AttentionUnet(3, 1, 2, (4, 4, 6), gate=gate, init="authors", **wanted).train()
    network(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if "psi.weight" in name:
            assert parameter.grad.abs().max() > 0, name


def test_attention_features_reach_the_decoder():
    """The decoder's first convolution has a channel more for each coefficient, and its output depends on them."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 4, 6), attention_features=True, init="authors").eval()
    assert network.decoder[0].first.conv.weight.shape[1] == 4 + 2 + 6
    assert network.decoder[1].first.conv.weight.shape[1] == 4 + 4  # the finest skip has no gates
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        before = network(x)
        network.decoder[0].first.conv.weight[:, 4:6] += 1
        assert not torch.allclose(network(x), before, atol=1e-3)


def test_encoder_gates_act_before_pooling():
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 4, 6), encoder_gates=True).eval()
    seen = []
    network.centre.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        network(x)
        network.encoder_gates[1].gates[0].psi.bias -= 20
        network.encoder_gates[1].gates[1].psi.bias -= 20
        network(x)
    assert seen[1].abs().max() < 0.9 * seen[0].abs().max()


def test_decoder_gates_act_after_the_convolutions():
    """Closed gates of the decoder make its features what W and the combination give of nothing; the finest level has none."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 4, 6), decoder_gates=True, gate="paper").eval()
    assert [len(list(gated.parameters())) > 0 for gated in network.decoder_gates] == [True, False]
    seen = []
    network.decoder[1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        network(x)
        for gate in network.decoder_gates[0].gates:
            gate.psi.bias -= 30
        network(x)
    assert seen[0].abs().max() > 0.1 and seen[1].abs().max() < 1e-4


def test_encoder_maps_reach_the_decoder():
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 2, (4, 4, 6), encoder_gates=True, encoder_maps=True, init="authors").eval()
    assert network.decoder[0].first.conv.weight.shape[1] == 4 + 2 + 6
    assert network.decoder[1].first.conv.weight.shape[1] == 4 + 4  # the finest level has no gates
    given = []
    network.decoder[0].register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    own = []
    network.encoder_gates[1].register_forward_hook(lambda module, inputs, output: own.append(torch.cat(output[1], dim=1)))
    with torch.no_grad():
        network(torch.randn(1, 1, 16, 16, 16))
    assert torch.equal(given[0][:, 4:], own[0])
