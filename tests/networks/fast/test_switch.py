"""`plain_layers` switches every fast path off, and the output stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.fast import plain_layers, slabs
from bundle.networks.fast.folding import MergedSkip
from bundle.networks.fast.switch import plain_wanted, switched_off

# the two finest levels of a small network, so that each path runs: 64 coarse voxels per channel would not be split
SIZE = (64, 48, 64)
FAST = [
    "bundle.networks.fast.convolve.torch.mkldnn_convolution",
    "bundle.networks.fast.convolve._with_relu",
    "bundle.networks.attention_unet.halved_by_slabs",
    "bundle.networks.attention_unet.classes_by_slabs",
    "bundle.networks.blocks.gathered",
    "bundle.networks.blocks.by_slabs",
    "bundle.networks.blocks.conv_of_upsampled",
    "bundle.networks.blocks.PlanesOfUpsampled",
    "bundle.networks.blocks.F.max_pool3d_with_indices",
    "bundle.networks.heads.to_classes",
    "bundle.networks.heads.sum_upsampled",
    "bundle.networks.fast.folding.MergedSkip._in_place",
]


def network(**arguments) -> AttentionUnet:
    """One whose batch norms are far from doing nothing."""
    torch.manual_seed(0)
    made = AttentionUnet(
        spatial_dims=3, in_channels=1, out_channels=3, channels=[4, 8, 16, 32, 64], num_gates=2, init="authors", **arguments
    )
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm3d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
    return made.eval()


def image(seed: int = 1) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(1, 1, *SIZE).contiguous(memory_format=torch.channels_last_3d)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Which fast paths are taken, in order."""
    taken: list[str] = []

    def watched(name: str, original):
        def call(*args, **keywords):
            taken.append(name)
            return original(*args, **keywords)

        return call

    for name in FAST:
        owner: object = __import__("bundle")
        for part in name.split(".")[1:-1]:
            owner = getattr(owner, part)
        last = name.rsplit(".", 1)[1]
        monkeypatch.setattr(owner, last, watched(name, getattr(owner, last)))
    return taken


def run(net: nn.Module, slab_bytes: int, monkeypatch) -> torch.Tensor:
    monkeypatch.setattr(slabs, "SLAB_BYTES", slab_bytes)
    with torch.no_grad():
        return net.to(memory_format=torch.channels_last_3d)(image().clone())


@pytest.mark.parametrize("slab_bytes", [1, 2**40])
def test_same_output_and_no_fast_path(calls, monkeypatch, slab_bytes):
    folded = fold_batch_norm(network())
    assert any(isinstance(module, MergedSkip) for module in folded.modules())
    fast = run(folded, slab_bytes, monkeypatch)
    # all paths are taken outside, by one of the two sizes of slabs
    large = {name for name in FAST if "slabs" in name or "gathered" in name or "PlanesOf" in name}
    small = {"bundle.networks.blocks.conv_of_upsampled", "bundle.networks.heads.to_classes"}
    expected = set(FAST) - (large if slab_bytes > 1 else small)
    assert set(calls) == expected
    calls.clear()
    with plain_layers():
        plain = run(folded, slab_bytes, monkeypatch)
        published = run(network(), slab_bytes, monkeypatch)
    assert calls == []
    scale = fast.abs().max()
    assert (plain - fast).abs().max() < 1e-5 * scale
    assert (published - fast).abs().max() < 1e-5 * scale


def test_gradients_are_those_of_plain_layers():
    # in this image no ReLU and no maximum is so close that rounding decides whose gradient is zero, as one is in that of seed 1
    seed = 2
    net = network().train()
    net(image(seed)).square().mean().backward()
    fast = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    with plain_layers():
        net(image(seed)).square().mean().backward()
    for grad, parameter in zip(fast, net.parameters(), strict=True):
        assert torch.allclose(grad, parameter.grad, atol=1e-4 * float(fast[0].abs().max()), rtol=1e-3)


def test_contexts_may_be_nested_and_end_with_an_error():
    assert not switched_off() and not plain_wanted()
    with plain_layers():
        with pytest.raises(ValueError), plain_layers():
            raise ValueError
        assert switched_off() and plain_wanted()
    assert not switched_off() and not plain_wanted()
