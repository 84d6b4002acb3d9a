"""A large volume is convolved a slab at a time, with the numbers of all at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from trained_norms import as_if_trained

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.blocks import TwoConvs, UpBlock
from bundle.networks.fast import slabs
from bundle.networks.fast.slabs import by_slabs, conv_planes, convolved, gathered, plane_ranges, slab_planes

GRID = (20, 18, 14)


def features(channels: int, size=GRID, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, channels, *size).contiguous(memory_format=torch.channels_last_3d)


@pytest.fixture
def small_slabs(monkeypatch):
    """Slabs of two planes, and a record of how many planes each was given."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
    torch.manual_seed(0)


@pytest.mark.parametrize("planes", [2, 4, 6, 18])
def test_each_plane_once_and_in_order(planes):
    asked = []
    x, weight = features(3), torch.randn(3, 3, 3, 3, 3)

    def first(start, stop):
        asked.append((start, stop))
        return x[:, :, start:stop]

    found = by_slabs(first, lambda slab: F.conv3d(slab, weight, padding=(0, 1, 1)), GRID[0], planes)
    assert torch.allclose(found, F.conv3d(x, weight, padding=1), atol=1e-5)
    assert asked == [(start, min(start + planes, GRID[0])) for start in range(0, GRID[0], planes)] and len(asked) > 1


def test_ranges():
    assert list(plane_ranges(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(plane_ranges(10, 4, 2)) == [(0, 6), (6, 10)]
    assert list(plane_ranges(4, 4, 2)) == [(0, 4)] and list(plane_ranges(5, 4)) == [(0, 4), (4, 5)]


@pytest.mark.parametrize(("planes", "ahead", "expected"), [(6, 0, [5, 6, 6, 3]), (6, 1, [6, 6, 6, 2]), (20, 0, [20]), (19, 0, [18, 2])])
def test_a_convolution_as_slabs_come_falls_a_plane_behind(planes, ahead, expected):
    x, weight = features(3), torch.randn(2, 3, 3, 3, 3)
    slabs = [x[:, :, start:stop] for start, stop in plane_ranges(GRID[0], planes, ahead)]
    found = list(convolved(slabs, lambda slab: F.conv3d(slab, weight, padding=(0, 1, 1)), GRID[0]))
    assert [slab.shape[2] for slab in found] == expected
    assert torch.allclose(torch.cat(found, 2), F.conv3d(x, weight, padding=1), atol=1e-5)


def test_what_is_gathered_has_the_wanted_memory_order_and_may_have_a_place():
    x = features(3)
    slabs = [x[:, :, :4], x[:, :, 4:5], x[:, :, 5:]]
    place = torch.zeros_like(x)
    assert torch.equal(gathered(slabs, GRID[0]), x) and gathered(slabs, GRID[0]).is_contiguous(memory_format=torch.channels_last_3d)
    assert gathered(slabs, GRID[0], place) is place and torch.equal(place, x)
    plain = gathered(slabs, GRID[0], layout=torch.contiguous_format)
    assert plain.is_contiguous() and torch.equal(plain, x)


def test_planes_of_a_convolution():
    x, weight, bias = features(3), torch.randn(2, 3, 3, 3, 3), torch.randn(2)
    whole = F.conv3d(x, weight, bias, padding=1)
    for start, stop in ((0, 20), (0, 1), (19, 20), (0, 4), (4, 9), (16, 20)):
        assert torch.allclose(conv_planes(x, start, stop, weight, bias), whole[:, :, start:stop], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
def test_two_convolutions(small_slabs, batch):
    block = as_if_trained(TwoConvs(3, 2, 4))
    x = features(2, batch=batch)
    expected = block(x)  # with gradients: all at once
    given = x.clone()
    with torch.no_grad():
        found = block(x)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6) and expected.std() > 0.1
    assert torch.equal(x, given) and found.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [GRID, (8, 24, 16), (24, 8, 10)])
@pytest.mark.parametrize("extra", [0, 2])
def test_decoder_block(small_slabs, monkeypatch, batch, size, extra):
    monkeypatch.setattr("bundle.networks.blocks.splitting_pays", lambda *_: True)
    block = as_if_trained(UpBlock(3, 4, 6, extra_channels=extra))
    skip, coarse = features(4 + extra, size, batch), features(6, [n // 2 for n in size], batch)
    expected = block(skip, coarse)
    with torch.no_grad():
        found = block(skip, coarse)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5) and expected.std() > 0.05
    # the skip is needed no more, and the result takes its place where it has as many channels
    assert (found.data_ptr() == skip.data_ptr()) == (extra == 0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_whole_network(monkeypatch, precision):
    torch.manual_seed(0)
    network = fold_batch_norm(as_if_trained(AttentionUnet(3, 1, 3, (8, 12, 16, 20, 24), init="authors")))
    x = features(1, (33, 64, 47))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        expected, maps = network.attention(x)
        monkeypatch.setattr(slabs, "SLAB_BYTES", 100_000)
        calls = []
        monkeypatch.setattr("bundle.networks.fast.slabs.plane_ranges", lambda *given: calls.append(given) or plane_ranges(*given))
        monkeypatch.setattr("bundle.networks.blocks.plane_ranges", lambda *given: calls.append(given) or plane_ranges(*given))
        found, others = network.attention(x)
    # in the two finest levels; the encoder's finest for the coarser ones, and again for the decoder
    assert sorted(depth for depth, *_ in calls) == [24, 24, 48, 48] and all(1 < planes < depth for depth, planes, *_ in calls)
    tolerance = 1e-5 if precision is torch.float32 else 2e-2
    assert (found.float() - expected.float()).abs().max() < tolerance * expected.float().abs().max()
    for level, both in maps.items():
        assert torch.allclose(others[level].own, both.own, atol=tolerance)


def test_when(monkeypatch):
    """Slabs of 16 MB, of an even number of planes; where learning, in 2-D, or where it fits, all at once."""

    def on(*size: int) -> torch.Tensor:
        return torch.zeros(1).expand(1, 1, *size)

    x = on(160, 160, 96)
    plane = 16 * 160 * 96 * 4
    with torch.no_grad():
        assert slab_planes(x, 16) == 16 * 2**20 // plane // 2 * 2 == 16
        assert slab_planes(on(34, 160, 96), 16) == 0 and slab_planes(on(36, 160, 96), 16) == 16
        assert slab_planes(on(160, 1024, 1024), 16) == 2
        assert slab_planes(on(4096, 4096), 16) == 0
        assert slab_planes(x.to("meta"), 16) == 0
        with torch.autocast("cpu", torch.bfloat16):
            assert slab_planes(x, 16) == 34
    assert slab_planes(x, 16) == 0
    monkeypatch.setattr(slabs, "SLAB_BYTES", 1)
    block = TwoConvs(3, 2, 4).train()  # batch norms take the statistics of everything at once
    monkeypatch.setattr(TwoConvs, "_by_slabs", lambda *_: pytest.fail("slabs in training"))
    with torch.no_grad():
        block(features(2))
