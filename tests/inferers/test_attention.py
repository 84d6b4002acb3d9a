"""Coefficients beside the logits: in one pass and in windows, for gates with one and with several channels."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SimpleInferer

from bundle.errors import UserError
from bundle.inferers import VolumeInferer
from bundle.inferers.attention import _LogitsAndMaps, with_attention
from bundle.networks import AttentionUnet, fold_batch_norm


@pytest.mark.parametrize(("gate", "channels"), [("additive", 2), ("channelwise", 2 * 4)])
def test_logits_and_coefficients_are_the_networks(gate: str, channels: int) -> None:
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, channels=(2, 4, 8), gate=gate, init="authors").eval()
    volume = torch.randn(1, 1, 16, 20, 17)
    with torch.no_grad():
        logits, found = with_attention(volume, network, SimpleInferer())
        expected, maps = network.attention(volume)
    assert list(found) == [2] and found[2].shape == (channels, 16, 20, 17)
    torch.testing.assert_close(logits, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[2], maps[2].resampled[0], rtol=1e-4, atol=1e-5)


def test_windows_are_blended_for_both_alike() -> None:
    """Where one window sees the whole volume, it is one pass; in smaller ones every coefficient is still in [0, 1]."""
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, channels=(2, 4, 8), init="authors").eval()
    volume = torch.randn(1, 1, 48, 32, 32)
    with torch.no_grad():
        logits, found = with_attention(volume, network, VolumeInferer(roi_size=(32, 32, 32), memory_gb=None, whole=False))
    assert logits.shape == (3, 48, 32, 32) and found[2].shape == (2, 48, 32, 32)
    assert 0 <= found[2].min() and found[2].max() <= 1 and found[2].std() > 0


def test_a_slab_has_the_same_logits_with_and_without_coefficients() -> None:
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, channels=(2, 4, 8, 8), init="authors").eval()
    volume, inferer = torch.randn(1, 1, 64, 70, 11), VolumeInferer(precision="fp32")
    logits, found = with_attention(volume, network, inferer)
    torch.testing.assert_close(logits, inferer(volume, network)[0], rtol=1e-4, atol=1e-5)
    assert found[2].shape == (2, 64, 70, 11)


def test_memory_is_planned_for_logits_and_coefficients() -> None:
    """Three classes, and two gates on each of two levels."""
    network = AttentionUnet(3, 1, 3, channels=(2, 4, 8, 8)).eval()
    for one in (network, fold_batch_norm(network)):
        both = _LogitsAndMaps(one)
        assert (both.out_channels, both.bytes_per_voxel) == (7, network.bytes_per_voxel + 8 * 7)


@pytest.mark.parametrize("network", [AttentionUnet(3, 1, 3, channels=(2, 4), num_gates=0), torch.nn.Identity()])
def test_a_network_without_gates(network: torch.nn.Module) -> None:
    with pytest.raises(UserError, match="no gates to show"):
        with_attention(torch.zeros(1, 1, 16, 16, 16), network, SimpleInferer())
