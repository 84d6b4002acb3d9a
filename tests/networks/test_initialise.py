"""Gates start by letting everything pass; the authors' initialisation is one argument away."""

from __future__ import annotations

import pytest
import torch

from bundle.networks import AttentionUnet
from bundle.networks.initialise import open_gates, rectified_moments
from bundle.networks.variants import GATES

CHANNELS = (4, 8, 8, 12, 16)


def with_twin(**arguments) -> tuple[AttentionUnet, AttentionUnet]:
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, CHANNELS, **arguments)
    twin = AttentionUnet(3, 1, 3, CHANNELS, num_gates=0)
    weights = network.state_dict()
    twin.load_state_dict({name: weights[name] for name in twin.state_dict()})
    return network, twin


@pytest.mark.parametrize(
    ("gate", "arguments"), [*((gate, {"encoder_gates": True}) for gate in GATES if gate != "paper"), ("additive", {"num_gates": 1})]
)
def test_starts_as_its_plain_twin(gate, arguments):
    """In evaluation to rounding: 1e-5 of the largest logit; while training, batch norms of the gates differ a little."""
    network, twin = with_twin(gate=gate, **arguments)
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        expected, actual = twin.eval()(x), network.eval()(x)
        assert (expected - actual).abs().max() <= 1e-5 * expected.abs().max()
        _, maps = network.attention(x)
        if gate != "softmax":  # its coefficients sum to one instead
            assert min(level.own.min() for level in maps.values()) > 0.98
        expected, actual = twin.train()(x), network.train()(x)
    assert torch.corrcoef(torch.stack([expected.flatten(), actual.flatten()]))[0, 1] > 0.95


def test_bare_gates_start_nearly_open():
    """Nothing after the product can undo sigmoid(5): each skip is multiplied by just that."""
    network, _ = with_twin(gate="paper", encoder_gates=True)
    x, g = torch.randn(1, 12, 4, 4, 4), torch.randn(1, 16, 2, 2, 2)
    gated, alphas = network.eval().skips[0](x, g)
    assert torch.allclose(gated, torch.sigmoid(torch.tensor(5.0)) * x) and len(alphas) == 2
    assert all(torch.allclose(alpha, torch.tensor(0.99331)) for alpha in alphas)


def test_authors_initialisation():
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 4, init="authors")
    weights = network.state_dict()
    assert weights["encoder.3.1.conv.weight"].std().item() == pytest.approx((2 / (27 * 128)) ** 0.5, rel=0.02)  # kaiming, fan in
    norm = weights["decoder.0.first.norm.weight"]
    assert norm.mean().item() == pytest.approx(1, abs=0.01) and norm.std().item() == pytest.approx(0.02, rel=0.3)
    assert weights["skips.0.gates.0.psi.weight"].abs().max() > 0
    with torch.no_grad():
        _, maps = network.eval().attention(torch.randn(1, 1, 16, 16, 16))
    assert maps[4].own.min() < 0.9


def test_gates_opened_over_trained_weights_pass_everything():
    """Whatever the batch norms of the U-Net have learnt, opening the gates makes them the identity again."""
    network, twin = with_twin()
    for module in twin.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, -2, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
            module.running_mean.normal_()
    network.load_state_dict({**network.state_dict(), **twin.state_dict()})
    open_gates(network)
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.no_grad():
        expected = twin.eval()(x)
        assert torch.allclose(network.eval()(x), expected, atol=1e-5 * expected.abs().max())


def test_moments_of_a_rectified_normal_distribution():
    torch.manual_seed(0)
    mean, sd = torch.tensor([0.0, 1.0, -1.0, 0.5]), torch.tensor([1.0, 2.0, 1.5, -0.5])
    samples = (mean + sd.abs() * torch.randn(400_000, 4)).clamp_min(0)
    first, variance = rectified_moments(mean, sd)
    assert torch.allclose(first, samples.mean(0), atol=0.01)
    assert torch.allclose(variance, samples.var(0), atol=0.02)
    assert first[0].item() == pytest.approx((2 * torch.pi) ** -0.5)
