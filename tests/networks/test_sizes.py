"""Networks that take some sizes only see such sizes, and their output is cut back."""

from __future__ import annotations

import torch
from torch import nn

from bundle.inferers import AutocastInferer, VolumeInferer
from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.sizes import fitted, halves, sides, window_of


class Halving(nn.Module):
    """Max-pools and repeats: on a grid of even sizes, the maximum of each 2x2x2 voxels in their place; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(2)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape[2:]))
        assert not any(n % 32 for n in x.shape[2:])
        return nn.functional.interpolate(self.pool(x), scale_factor=2.0)


def test_sizes_are_multiples_and_the_output_is_cut_back() -> None:
    network, x = Halving(), torch.rand(1, 1, 40, 70, 20)
    expected = nn.functional.interpolate(nn.functional.max_pool3d(x, 2), scale_factor=2.0)
    for out in (fitted(network, x), VolumeInferer(precision="fp32")(x, network), AutocastInferer(amp=False)(x, network)):
        assert torch.equal(out, expected)
    assert network.seen[0] == network.seen[2] == (64, 96, 64)


def test_the_last_voxels_are_repeated() -> None:
    """Of 3 voxels the last stands alone in its pair, and is its own maximum, not that of a zero."""
    x = -1 - torch.rand(1, 1, 3, 2, 2)
    out = fitted(Halving(), x)
    assert torch.allclose(out[:, :, 2], x[:, :, 2].amax((2, 3), keepdim=True).expand(1, 1, 2, 2))


def test_what_short_axes_get_on_both_sides() -> None:
    ours, others, same = AttentionUnet(3, 1, 2, (2, 2, 2, 2, 2)), Halving(), nn.Conv3d(1, 1, 3)
    # 6 or more on each side, in all a multiple of 16; nothing from 64 up
    assert sides(ours, (1, 20, 21), 16) == [(7, 8), (6, 6), (13, 14)]
    assert sides(ours, (63, 64, 300), 16) == [(8, 9), (0, 0), (0, 0)]
    # two poolings take multiples of 4
    assert sides(AttentionUnet(3, 1, 2, (2, 2, 2)), (12, 13), 16) == [(6, 6), (7, 8)]
    # networks of others: 64 at least, then multiples of 32
    assert sides(others, (20, 60), 16) == [(22, 22), (18, 18)]
    # no grid is halved, or there is one size only: 16 at least
    assert sides(same, (3, 16, 20), 16) == sides(len, (3, 16, 20), 16) == [(6, 7), (0, 0), (0, 0)]
    others.window = [32, 32, 32]
    assert sides(others, (3, 20), 16) == [(6, 7), (0, 0)]


def test_a_slab_is_seen_with_its_end_slices_repeated() -> None:
    torch.manual_seed(0)
    network, x = AttentionUnet(3, 1, 2, (2, 2, 2, 2, 2)).eval(), torch.randn(1, 1, 70, 64, 10)
    with torch.no_grad():
        padded = torch.cat([x[..., :1]] * 11 + [x] + [x[..., -1:]] * 11, -1)
        expected = network(padded)[..., 11:21]
        # the network alone repeats the last slices only
        assert not torch.allclose(network(x), expected, atol=1e-3)
    assert torch.allclose(VolumeInferer(precision="fp32")(x, network), expected, atol=1e-5)


def test_windows_are_fitted_as_well() -> None:
    network, x = Halving(), torch.rand(1, 1, 100, 90, 80)
    VolumeInferer((48, 48, 48), precision="fp32", whole=False)(x, network)
    assert set(network.seen) == {(64, 64, 64)}


def test_this_bundles_networks_and_functions_get_what_there_is() -> None:
    network, x = AttentionUnet(3, 1, 2, (2, 2, 2)).eval(), torch.rand(1, 1, 17, 18, 19)
    seen = []
    network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    for one in (network, fold_batch_norm(network)):
        fitted(one, x)
    fitted(lambda image: seen.append(tuple(image.shape[2:])), x)
    assert seen == [(17, 18, 19)] * 3
    assert halves(nn.Conv2d(1, 1, 3, stride=2)) and not halves(nn.Conv3d(1, 1, 3)) and not halves(len)


def test_a_network_of_one_size_gets_windows_of_it() -> None:
    network = Halving()
    network.window = [32, 64, 32]
    VolumeInferer(precision="fp32")(torch.rand(1, 1, 20, 80, 50), network)
    assert set(network.seen) == {(32, 64, 32)} and window_of(network) == (32, 64, 32) and window_of(len) is None


def test_memory_that_other_networks_do_not_state_is_taken_for_large() -> None:
    network = Halving()
    assert VolumeInferer()._bytes(network, False) == VolumeInferer()._bytes(network, True) == 1000.0
    assert VolumeInferer(bytes_per_voxel=1.0)._bytes(network, False) == 1.0
    network.bytes_per_voxel = 7.0
    assert VolumeInferer()._bytes(network, False) == 7.0
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2, 2)).eval(), False) == 60.0
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2)), True) == 300.0
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2), blocks="dense"), False) == 400.0
