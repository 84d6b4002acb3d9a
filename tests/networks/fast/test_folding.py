"""Folding batch norms and merging gates change nothing but the time it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from trained_norms import as_if_trained

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.fast.folding import MergedSkip
from bundle.networks.variants import GATES

SMALL = (3, 4, 5, 6, 7)


def trained(**arguments) -> AttentionUnet:
    """A network whose batch norms have seen data, in evaluation."""
    torch.manual_seed(0)
    return as_if_trained(
        AttentionUnet(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": SMALL, "init": "authors", **arguments})
    )


@pytest.mark.parametrize("arguments", [{"num_gates": 0}, {"num_gates": 1}, {"num_gates": 3}, {"spatial_dims": 2}, {"align_corners": True}])
def test_same_logits_and_same_maps(arguments):
    network = trained(**arguments)
    folded = fold_batch_norm(network)
    x = torch.randn(1, 1, *[33, 48, 20][: network.spatial_dims])
    with torch.no_grad():
        expected, maps = network.attention(x)
        assert torch.allclose(folded(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
        for level, own in folded.attention(x)[1].items():
            assert torch.allclose(own.own, maps[level].own, atol=1e-5)


@pytest.mark.parametrize("gate", GATES)
def test_variants_fold(gate):
    network = trained(gate=gate, encoder_gates=True, attention_features=True, dropout=0.2)
    folded = fold_batch_norm(network)
    # where a kind is on the coarsest skip alone, the others are additive and merge
    merges = gate == "additive" or GATES[gate].coarsest_only
    assert any(isinstance(module, MergedSkip) for module in folded.modules()) == merges
    x = torch.randn(1, 1, 32, 16, 16)
    with torch.no_grad():
        expected = network(x)
        assert torch.allclose(folded(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


@pytest.mark.parametrize("piece_bytes", [1, 500, 10**9])
@pytest.mark.parametrize("spatial", [(12, 10), (6, 8, 10)])
def test_gating_in_place_piece_by_piece(piece_bytes, spatial):
    """Where nothing is learnt, the merged gates write over the skip; with gradients it stays, and the result is the same."""
    skip = next(s for s in fold_batch_norm(trained(spatial_dims=len(spatial))).skips if isinstance(s, MergedSkip) and s.theta.shape[1] == 5)
    skip.piece_bytes = piece_bytes
    memory = torch.channels_last if len(spatial) == 2 else torch.channels_last_3d
    x, g = torch.randn(2, 5, *spatial).contiguous(memory_format=memory), torch.randn(2, 6, *(n // 2 for n in spatial))
    given = x.clone()
    expected, alphas = skip(x, g)
    assert torch.equal(x, given)
    with torch.no_grad():
        found, same = skip(x, g)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6) and expected.std() > 0.1
    assert found.data_ptr() == x.data_ptr() and found.shape == x.shape
    assert all(torch.equal(a, b) for a, b in zip(same, alphas, strict=True))


def test_nothing_is_left_to_normalise_and_the_original_stays():
    network = trained()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network.train())
    assert not any(isinstance(module, nn.BatchNorm3d) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters()) and not folded.training
    assert network.training
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    again = fold_batch_norm(folded)
    x = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(again(x), folded(x))


def test_other_networks_pass():
    network = nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2)).eval()
    x = torch.randn(1, 1, 4, 4, 4)
    assert torch.equal(fold_batch_norm(network)(x), network(x))


def test_under_autocast_as_in_inference():
    network = trained()
    folded = fold_batch_norm(network)
    x = torch.randn(1, 1, 33, 48, 20)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = folded(x)
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()
