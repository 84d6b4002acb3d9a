"""Dense V-Net, which Attention U-Net is compared with (Gibson et al., IEEE TMI 2018, doi:10.1109/TMI.2018.2806309)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.errors import UserError
from bundle.networks.blocks import ConvNormAct, convolution, crop, pad_to_multiple, resize


class DenseStack(nn.Module):
    """Dense feature stack: each 3x3x3 convolution sees the input and the output of every one before it.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        growth: channels of each convolution's output.
        units: number of convolutions.
        dropout: probability of dropping a whole channel of each unit's output but the last one's.
    """

    def __init__(self, spatial_dims: int, in_channels: int, growth: int, units: int, dropout: float) -> None:
        super().__init__()
        self.units = nn.ModuleList(ConvNormAct(spatial_dims, in_channels + i * growth, growth) for i in range(units))
        self.dropout = nn.Dropout2d(dropout) if spatial_dims == 2 else nn.Dropout3d(dropout)
        self.out_channels = in_channels + units * growth

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, in_channels + units * growth, *spatial)."""
        last = len(self.units) - 1
        for i, unit in enumerate(self.units):
            y = unit(x)
            x = torch.cat([x, y if i == last else self.dropout(y)], dim=1)
        return x


class DenseVNet(nn.Module):
    """Dense V-Net: dense feature stacks on grids of 1/2, 1/4 and 1/8, fused at 1/2, with a learned spatial prior.

    From the description of Gibson et al. and the parameters of the NiftyNet implementation (dilation 1). The prior is a volume of
    logarithms for each class, resampled to the grid: it learns where in the field of view each organ is, so it helps where volumes are
    cropped alike. Train with Dice plus cross-entropy.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: number of classes.
        features: channels of the first convolution and of the two that halve the grid.
        growth: channels that each unit of the three stacks adds.
        units: units of the three stacks.
        skip_channels: channels that each stack passes to the fused features.
        prior_size: voxels of the prior along each axis; 0 leaves it out.
        dropout: probability of dropping a channel inside the stacks.

    Raises:
        UserError: an argument is none of these.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 4,
        *,
        features: Sequence[int] = (24, 24, 24),
        growth: Sequence[int] = (4, 8, 16),
        units: Sequence[int] = (5, 10, 10),
        skip_channels: Sequence[int] = (12, 24, 24),
        prior_size: int = 12,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise UserError("network_def", f"spatial_dims is {spatial_dims!r}, it must be 2 or 3")
        if not len(features) == len(growth) == len(units) == len(skip_channels) or min(*features, *growth, *units, *skip_channels) < 1:
            raise UserError("network_def", f"{features=}, {growth=}, {units=}, {skip_channels=}: as many of each, at least 1")
        if prior_size < 0 or not 0 <= dropout < 1:
            raise UserError(
                "network_def", f"{prior_size=}, {dropout=}: the prior has 0 voxels or more, dropout is at least 0 and less than 1"
            )
        self.multiple = 2 ** len(features)
        self.bytes_per_voxel = 120.0
        self.image_norm = nn.BatchNorm2d(in_channels) if spatial_dims == 2 else nn.BatchNorm3d(in_channels)
        self.first = _strided(spatial_dims, in_channels, features[0], 5)
        self.stacks, self.skips, self.halvers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = in_channels + features[0]
        for level in range(len(features)):
            stack = DenseStack(spatial_dims, width, growth[level], units[level], dropout)
            self.stacks.append(stack)
            width = stack.out_channels
            self.skips.append(ConvNormAct(spatial_dims, width, skip_channels[level]))
            if level + 1 < len(features):
                self.halvers.append(_strided(spatial_dims, width, features[level + 1], 3))
                width = features[level + 1]
        self.final = convolution(spatial_dims, in_channels + sum(skip_channels), out_channels, 3)
        self.prior = nn.Parameter(torch.zeros(1, out_channels, *[prior_size] * spatial_dims)) if prior_size else None

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, in_channels, *spatial), every spatial size at least 8, to logits (B, out_channels, *spatial)."""
        size = list(x.shape[2:])
        x = pad_to_multiple(x, self.multiple)
        padded = list(x.shape[2:])
        pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool3d
        small = self.image_norm(pool(x, 3, stride=2, padding=1, count_include_pad=False))
        grid = list(small.shape[2:])
        fused, features = [small], torch.cat([small, self.first(x)], dim=1)
        for level, (stack, skip) in enumerate(zip(self.stacks, self.skips, strict=True)):
            features = stack(features)
            fused.append(resize(skip(features), grid, False))
            if level < len(self.halvers):
                features = self.halvers[level](features)
        logits = self.final(torch.cat(fused, dim=1))
        if self.prior is not None:
            logits = logits + resize(self.prior, grid, False)
        return crop(resize(logits, padded, False), size)


def _strided(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """Convolution of stride 2, batch norm, ReLU."""
    block = ConvNormAct(spatial_dims, in_channels, out_channels, kernel_size)
    conv = convolution(spatial_dims, in_channels, out_channels, kernel_size, stride=2)
    return nn.Sequential(conv, block.norm, nn.ReLU(inplace=True))
