"""A network that looks at a volume in several sizes: the mean of its logits, each on the volume's own grid."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn

from bundle.errors import UserError
from bundle.inferers import VolumeInferer
from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.zoomed import Zoomed


class Sizes(nn.Module):
    """Two classes: the length of the first axis that it was given, and the image."""

    bytes_per_voxel, out_channels, multiple = 10.0, 2, 16

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.full_like(x, x.shape[2]), x], dim=1)


@pytest.mark.parametrize("size", [(20, 10, 30), (20, 10)])
def test_the_mean_over_all_sizes(size):
    x = torch.full((1, 1, *size), 3.0)
    logits = Zoomed(Sizes(), [0.5, 1.25])(x)
    assert logits.shape == (1, 2, *size) and logits.dtype == torch.float32
    assert torch.allclose(logits[:, 0], torch.tensor((20 + 10 + 25) / 3)) and torch.allclose(logits[:, 1], torch.tensor(3.0))


def test_a_ramp_stays_where_it_is():
    """Linear resampling there and back moves nothing: inside, a linear image comes back as it was."""
    ramp = torch.arange(40.0).view(1, 1, 40, 1, 1).expand(-1, -1, -1, 20, 20)
    logits = Zoomed(Sizes(), [1.1, 0.9])(ramp)
    assert (logits[:, 1] - ramp[:, 0])[:, 3:-3].abs().max() < 1e-3


def test_what_inferers_ask_for():
    zoomed = Zoomed(Sizes(), [0.9, 2])
    assert (zoomed.multiple, zoomed.out_channels) == (16, 2) and not hasattr(zoomed, "window")
    assert zoomed.bytes_per_voxel == 8 * (10 + 8) + 8
    assert Zoomed(Sizes(), [0.9]).bytes_per_voxel == 10 + 8 + 8
    assert not hasattr(Zoomed(nn.Identity(), [0.9]), "bytes_per_voxel"), "inferers have a figure of their own for such networks"


def test_a_network_inside_is_folded():
    torch.manual_seed(0)
    network = AttentionUnet(3, 1, 3, (4, 8, 16)).eval()
    zoomed, x = Zoomed(network, [0.9]), torch.randn(1, 1, 20, 24, 28)
    with torch.no_grad():
        folded = fold_batch_norm(zoomed)
        assert torch.allclose(folded(x), zoomed(x), atol=1e-5)
        assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm3d)]
        assert not torch.allclose(zoomed(x), network(x), atol=1e-3)


def test_a_network_that_takes_multiples_gets_them_in_each_size():
    """MONAI's UNet halves three times here: 64 voxels become 58, and 96 in steps of 32 from 64 up."""
    torch.manual_seed(0)
    network, seen = nets.UNet(3, 1, 2, (2, 2, 4, 4), (2, 2, 2)).eval(), []
    network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    with torch.no_grad():
        logits = VolumeInferer(memory_gb=4, precision="fp32")(torch.randn(1, 1, 64, 64, 70), Zoomed(network, [0.9, 1.1]))
    assert logits.shape == (1, 2, 64, 64, 70) and torch.isfinite(logits).all()
    assert seen == [(64, 64, 96), (64, 64, 96), (96, 96, 128)]


def test_a_network_of_one_size_is_refused():
    network = nn.Identity()
    network.window = (32, 32, 16)
    with pytest.raises(UserError, match="network_def: it takes volumes of 32x32x16 only"):
        Zoomed(network, [0.9])


@pytest.mark.parametrize("zooms", [[], [1], [0.9, 3.0], [0.1], ["0.9"], [True], 0.9, None])
def test_factors_that_are_none(zooms):
    with pytest.raises(UserError, match=r"network#zooms: is .*numbers from 0.5 to 2 other than 1"):
        Zoomed(Sizes(), zooms)
