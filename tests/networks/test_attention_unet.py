"""The network: parameters, sizes, arguments, attention maps, deep supervision."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceLoss
from reference_networks import AuthorsNetwork

from bundle.networks import AttentionUnet
from bundle.networks.fast import plain_layers

SMALL = (3, 4, 5, 6, 7)


def small(**arguments) -> AttentionUnet:
    torch.manual_seed(0)
    return AttentionUnet(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": SMALL, **arguments})


@pytest.mark.parametrize(
    ("arguments", "millions"),
    [
        ({"num_gates": 0}, "5.88"),
        ({"gating_conv": False}, "6.40"),
        ({"num_gates": 0, "width": 1.047}, "6.44"),
        ({"num_gates": 0, "width": 1.333}, "10.40"),
    ],
)
def test_parameters_are_the_papers(arguments, millions):
    """Tables 1 and 2 of Oktay et al. 2018 print millions with two digits, cut off: U-Net 5.88, attention U-Net 6.40."""
    assert f"{parameters_of(AttentionUnet(3, 1, 4, **arguments)) // 10_000 / 100:.2f}" == millions


@pytest.mark.parametrize(("num_gates", "parameters"), [(0, 5_888_004), (1, 6_214_151), (2, 6_473_322)])
def test_parameters_are_the_authors_networks(num_gates, parameters):
    """As many as in the plain implementation of the authors' networks, which their checkpoints fit."""
    assert parameters_of(AttentionUnet(3, 1, 4, num_gates=num_gates)) == parameters
    assert parameters_of(AuthorsNetwork(num_gates=num_gates)) == parameters


def parameters_of(network: torch.nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("size", [(33, 50, 17), (16, 16, 16), (20, 97, 41), (17, 16), (20, 97)])
def test_any_size_from_16_up(size):
    network = small(spatial_dims=len(size)).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, 1, *size))
    assert logits.shape == (1, 3, *size)
    assert logits.isfinite().all()


def test_padding_repeats_the_last_voxels():
    """A size that is no multiple of 16 gives what the volume gives when its last slices are repeated by the caller."""
    network = small().eval()
    x = torch.randn(1, 1, 16, 20, 32)
    repeated = torch.cat([x, x[:, :, :, -1:].expand(-1, -1, -1, 12, -1)], dim=3)
    with torch.no_grad():
        assert torch.allclose(network(x), network(repeated)[:, :, :, :20], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        ({"in_channels": 2}, "shape"),
        ({"out_channels": 5}, "shape"),
        ({"channels": (3, 4, 5, 6)}, "shape"),
        ({"num_gates": 1}, "shape"),
        ({"num_gates": 3}, "shape"),
        ({"gating_conv": False}, "shape"),
        ({"encoder_gates": True}, "shape"),
        ({"attention_features": True}, "shape"),
        ({"gate": "channelwise"}, "shape"),
        ({"spatial_dims": 2}, "shape"),
        ({"align_corners": True}, "output"),
        ({"dropout": 0.5}, "output"),
        ({"init": "authors"}, "weights"),
    ],
)
def test_each_argument_has_an_effect(change, effect):
    plain, changed = small(), small(**change)
    if effect == "shape":
        shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in (plain, changed)]
        assert shapes[0] != shapes[1]
    elif effect == "weights":
        assert not torch.equal(plain.state_dict()["skips.0.gates.0.psi.bias"], changed.state_dict()["skips.0.gates.0.psi.bias"])
    else:
        changed.load_state_dict(plain.state_dict())
        x = torch.randn(2, 1, 32, 32, 32)
        assert not torch.allclose(plain.train()(x), changed.train()(x), atol=1e-3)


def test_dropout_reaches_every_block():
    """With every value dropped but those of the last layers, each block's output is zero: so each has its dropout."""
    network = small(dropout=0.3, gate="additive").train()
    seen = []
    for name, module in network.named_modules():
        if hasattr(module, "dropout"):
            assert isinstance(module.dropout, torch.nn.Dropout) and module.dropout.p == 0.3, name
            seen.append(name)
    assert len(seen) == 4 * 2 + 2 + 1 + 4 * 2 + 3 * (2 + 1)  # encoder, centre, gating, decoder, gates and what combines them
    x = torch.randn(2, 1, 32, 32, 32)
    assert not torch.equal(network(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


def test_attention_gives_logits_and_all_coefficients():
    network = small(init="authors").eval()
    x = torch.randn(1, 1, 33, 50, 17)
    with torch.no_grad():
        logits, maps = network.attention(x)
        assert torch.equal(logits, network(x))
    assert list(maps) == [4, 3, 2]
    for level, grid in ((4, (5, 7, 3)), (3, (9, 13, 5)), (2, (17, 25, 9))):
        assert maps[level].own.shape == (1, 2, *grid)
        assert maps[level].resampled.shape == (1, 2, 33, 50, 17)
        assert 0 <= maps[level].own.min() < maps[level].own.max() <= 1
    assert small(num_gates=0).eval().attention(x)[1] == {}


def test_attention_is_what_the_gates_give():
    network = small(init="authors").eval()
    alphas = []
    for skip in network.skips:
        for gate in getattr(skip, "gates", []):
            gate.register_forward_hook(lambda module, inputs, output: alphas.append(output[1]))
    with torch.no_grad():
        _, maps = network.attention(torch.randn(1, 1, 32, 32, 32))
    assert torch.equal(maps[2].own, torch.cat(alphas[-2:], dim=1))
    expected = torch.nn.functional.interpolate(maps[2].own, scale_factor=2, mode="trilinear")
    assert torch.allclose(maps[2].resampled, expected, atol=1e-6)


def test_coarser_levels_gate_the_skips():
    """The coarsest skip is gated by the centre, the others by the decoder's output of the next coarser level."""
    network = small(init="authors").eval()
    signals, outputs = [], []
    network.gating.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    for up, skip in zip(network.decoder, network.skips, strict=True):
        skip.register_forward_hook(lambda module, inputs, output: signals.append(inputs[1]))
        up.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        network(torch.randn(1, 1, 32, 32, 32))
    for signal, output in zip(signals, outputs, strict=False):
        assert torch.equal(signal, output)


def test_auxiliary_losses_share_weights_with_fused_heads():
    fused, auxiliary = small(), small(deep_supervision="auxiliary")
    auxiliary.load_state_dict(fused.state_dict(), strict=True)
    fused.load_state_dict(auxiliary.state_dict(), strict=True)
    x = torch.randn(2, 1, 33, 48, 32)
    outputs = auxiliary.train()(x)
    assert [tuple(output.shape[2:]) for output in outputs] == [(33, 48, 32), (17, 24, 16), (9, 12, 8), (5, 6, 4)]
    fused.load_state_dict(auxiliary.state_dict())  # the running statistics after one step
    assert torch.equal(fused.eval()(x), auxiliary.eval()(x))


def test_auxiliary_losses_by_monai_reach_every_head():
    network = small(deep_supervision="auxiliary").train()
    target = torch.randint(0, 3, (2, 1, 32, 32, 32)).float()
    loss = DeepSupervisionLoss(DiceLoss(to_onehot_y=True, softmax=True))
    outputs = network(torch.randn(2, 1, 32, 32, 32))
    alone = DiceLoss(to_onehot_y=True, softmax=True)(outputs[0], target)
    total = loss(outputs, target)
    assert total > alone  # weights 1, 1/2, 1/4, 1/8
    total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("plain", [False, True])
def test_some_of_the_classes(plain):
    """The same weights, and of the logits those of classes 2 and 0, on every scale; the others' last weights have no gradient."""
    with plain_layers() if plain else nullcontext():
        whole, some = (small(deep_supervision="auxiliary", classes=classes).eval() for classes in (None, [2, 0]))
        some.load_state_dict(whole.state_dict(), strict=True)
        x = torch.randn(1, 1, 32, 33, 32)
        with torch.no_grad():
            torch.testing.assert_close(some(x), whole(x)[:, [2, 0]], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(some.attention(x)[0], whole(x)[:, [2, 0]], rtol=1e-5, atol=1e-5)
        assert some.out_channels == 2
        x = torch.randn(2, 1, 32, 32, 32)
        for ours, all_of_them in zip(some.train()(x), whole.train()(x), strict=True):
            torch.testing.assert_close(ours, all_of_them[:, [2, 0]], rtol=1e-5, atol=1e-5)
        some(x)[0].square().mean().backward()
    assert some.heads.final.weight.grad[[2, 0]].all() and not some.heads.final.weight.grad[1].any()


def test_no_gates_leave_no_traces():
    assert not [name for name in small(num_gates=0).state_dict() if "gate" in name or "gating" in name]
