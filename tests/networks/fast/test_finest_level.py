"""The finest level a slab at a time: the numbers of all at once, and none of its features as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_norms import as_if_trained

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.blocks import TwoConvs, UpBlock, halve
from bundle.networks.fast import slabs
from bundle.networks.fast.finest_level import classes_by_slabs, finest_planes, halved_by_slabs
from bundle.networks.heads import to_classes
from bundle.networks.skips import OpenSkip

GRID = (20, 16, 12)
CHANNELS = (4, 8, 16, 32, 64)


@pytest.fixture
def blocks() -> tuple[TwoConvs, UpBlock]:
    """Encoder and decoder of a level of 4 channels, whose norms are far from doing nothing."""
    torch.manual_seed(0)
    return as_if_trained(TwoConvs(3, 1, 4)), as_if_trained(UpBlock(3, 4, 6))


def image(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 1, *size).contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("planes", [2, 4, 6, 18, 20])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_numbers_of_all_at_once(blocks, planes, batch):
    encode, decode = blocks
    x, coarse, weight = image(*GRID, batch=batch), torch.randn(batch, 6, *(n // 2 for n in GRID)), torch.randn(3, 4, 1, 1, 1)
    coarse = coarse.contiguous(memory_format=torch.channels_last_3d)
    features = encode(x)  # with gradients: all at once
    expected = to_classes(decode(features, coarse), weight)
    given = x.clone()
    with torch.no_grad():
        half = halved_by_slabs(encode, x, planes)
        found = classes_by_slabs(encode, decode, x, coarse, weight, planes)
    assert torch.allclose(half, halve(features), rtol=1e-5, atol=1e-6) and half.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5) and expected.std() > 0.05
    assert found.is_contiguous() and torch.equal(x, given)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("classes", [None, [0, 2]])
def test_a_network_never_has_the_level_as_a_whole(monkeypatch, folded, classes):
    torch.manual_seed(0)
    network = as_if_trained(AttentionUnet(3, 1, 3, CHANNELS, init="authors", classes=classes))
    network = (fold_batch_norm(network) if folded else network.eval()).to(memory_format=torch.channels_last_3d)
    x = image(61, 64, 48)
    sizes = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            continue
        module.register_forward_hook(lambda _, given, out: sizes.append(given[0].shape[-3:]) if torch.is_tensor(given[0]) else None)
    with torch.no_grad():
        expected = network(x)
        whole = (64, 64, 48)
        assert whole in [tuple(size) for size in sizes]
        sizes.clear()
        monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
        found = network(x)
        logits, maps = network.attention(x)
    # of the image's own size there is the network itself, twice
    assert [tuple(size) for size in sizes if tuple(size) in (whole, (61, 64, 48))] == [(61, 64, 48)]
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(logits, found) and sorted(maps) == [2, 3, 4] and maps[2].resampled.shape == (1, 2, 61, 64, 48)


@pytest.mark.parametrize(
    "arguments",
    [
        {"align_corners": True},
        {"blocks": "residual"},
        {"encoder_gates": True},
        {"decoder_gates": True},
        {"attention_features": True},
        {"encoder_gates": True, "encoder_maps": True},
    ],
)
def test_where_others_read_the_features_they_are_there(monkeypatch, arguments):
    torch.manual_seed(0)
    network = as_if_trained(AttentionUnet(3, 1, 3, CHANNELS, init="authors", **arguments)).eval()
    x = image(64, 64, 48)
    with torch.no_grad():
        expected = network(x)
        monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
        monkeypatch.setattr("bundle.networks.attention_unet.classes_by_slabs", lambda *_: pytest.fail("a slab at a time"))
        found = network(x)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    plain = "blocks" not in arguments
    assert network.bytes_per_voxel == (120.0 if plain else 400.0)


def test_not_where_dropout_or_norms_learn(blocks, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
    encode, decode = blocks
    x = image(64, 64, 48)
    assert finest_planes(encode.eval(), OpenSkip(), decode.eval(), x) == 0, "gradients"
    with torch.no_grad():
        assert finest_planes(encode, OpenSkip(), decode, x) == 2
        monkeypatch.setattr(slabs, "SLAB_BYTES", 64 * 64 * 48 * 4 * 4 // 12)
        assert finest_planes(encode, OpenSkip(), decode, x) == 0, "up to twelve slabs"
        monkeypatch.setattr(slabs, "SLAB_BYTES", 64 * 64 * 48 * 4 * 4 // 12 - 1)
        assert finest_planes(encode, OpenSkip(), decode, x) == 4
        monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
        assert finest_planes(encode, nn.Identity(), decode, x) == 0
        assert finest_planes(encode, OpenSkip(), decode, x.to("meta")) == 0
        assert finest_planes(encode.train(), OpenSkip(), decode, x) == 0
        network = AttentionUnet(3, 1, 3, CHANNELS, dropout=0.5).eval()
        assert network.bytes_per_voxel == 60.0 and network.train().bytes_per_voxel == 120.0
        assert network._finest_planes(x) == 0 and network.eval()._finest_planes(x) == 2


def test_a_network_of_two_levels_has_no_coarser_decoder_and_goes_as_a_whole(monkeypatch):
    torch.manual_seed(0)
    network, x = AttentionUnet(3, 1, 3, (4, 8), init="authors").eval(), image(*GRID)
    with torch.no_grad():
        expected = network(x)
        monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
    assert network.bytes_per_voxel == 120.0
