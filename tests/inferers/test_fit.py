"""Networks that take some sizes only see such sizes, and their output is cut back."""

from __future__ import annotations

import torch
from torch import nn

from bundle.inferers import AutocastInferer, VolumeInferer
from bundle.inferers.fit import fitted, halves, window_of
from bundle.networks import AttentionUnet, fold_batch_norm


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
    network, x = Halving(), torch.rand(1, 1, 40, 70, 18)
    expected = nn.functional.interpolate(nn.functional.max_pool3d(x, 2), scale_factor=2.0)
    for out in (fitted(network, x), VolumeInferer(precision="fp32")(x, network), AutocastInferer(amp=False)(x, network)):
        assert torch.equal(out, expected)
    assert network.seen[0] == network.seen[2] == (64, 96, 64)


def test_the_last_voxels_are_repeated() -> None:
    """Of 3 voxels the last stands alone in its pair, and is its own maximum, not that of a zero."""
    x = -1 - torch.rand(1, 1, 3, 2, 2)
    out = fitted(Halving(), x)
    assert torch.allclose(out[:, :, 2], x[:, :, 2].amax((2, 3), keepdim=True).expand(1, 1, 2, 2))


def test_windows_are_fitted_as_well() -> None:
    network, x = Halving(), torch.rand(1, 1, 100, 90, 80)
    VolumeInferer((48, 48, 48), precision="fp32", memory_gb=0.001)(x, network)
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
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2)).eval(), False) == 60.0
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2)), True) == 300.0
    assert VolumeInferer()._bytes(AttentionUnet(channels=(2, 2), blocks="dense"), False) == 400.0
