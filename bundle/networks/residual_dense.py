"""Residual and dense convolution blocks, in place of the two plain convolutions of each level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks import ConvNormAct, TwoConvs, UpBlock, resize
from bundle.networks.checkpointing import Block, checkpointed


class ConvNorm(ConvNormAct):
    """Convolution and batch norm, without the ReLU."""

    relu = False


class ResidualConvs(Block):
    """Two 3x3x3 convolutions, to which the input is added before the last ReLU (https://arxiv.org/abs/1512.03385).

    The input goes through a 1x1x1 convolution with batch norm.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        dropout: probability of dropping a value after each convolution.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = ConvNormAct(spatial_dims, in_channels, out_channels, dropout=dropout)
        self.second = ConvNorm(spatial_dims, out_channels, out_channels, dropout=dropout)
        self.shortcut = ConvNorm(spatial_dims, in_channels, out_channels, kernel_size=1)

    def norms_before_relu(self) -> list[nn.Module]:
        return [self.second.norm, self.shortcut.norm]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        if not torch.jit.is_scripting():
            if self.saves_memory():
                return checkpointed(self, x)
        return torch.relu_(self.second(self.first(x)) + self.shortcut(x))


class DenseConvs(Block):
    """Two 3x3x3 convolutions, the second of which sees the block's input as well (https://arxiv.org/abs/1608.06993).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output, and of the first convolution.
        dropout: probability of dropping a value after each convolution.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = ConvNormAct(spatial_dims, in_channels, out_channels, dropout=dropout)
        self.second = ConvNormAct(spatial_dims, in_channels + out_channels, out_channels, dropout=dropout)

    def norms_before_relu(self) -> list[nn.Module]:
        return [self.second.norm]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        if not torch.jit.is_scripting():
            if self.saves_memory():
                return checkpointed(self, x)
        return self.second(torch.cat([x, self.first(x)], dim=1))


class UpThrough(nn.Module):
    """A level of the decoder: the coarser features are resized to the skip's grid, appended to it, and go through a block.

    Args:
        convs: the block.
        align_corners: how corners are treated when resizing.
    """

    def __init__(self, convs: Block, *, align_corners: bool = False) -> None:
        super().__init__()
        self.convs, self.align_corners = convs, align_corners

    def norms_before_relu(self) -> list[nn.Module]:
        """The batch norms whose outputs are added before the last ReLU."""
        return self.convs.norms_before_relu()

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """(B, channels, *spatial) and (B, coarse_channels, *smaller) to the block's output, on the skip's grid."""
        return self.convs(torch.cat([skip, resize(coarse, list(skip.shape[2:]), self.align_corners)], dim=1))


BLOCKS: dict[str, type[TwoConvs] | type[ResidualConvs] | type[DenseConvs]] = {
    "plain": TwoConvs,
    "residual": ResidualConvs,
    "dense": DenseConvs,
}


def up_block(
    blocks: str, spatial_dims: int, skip_channels: int, coarse_channels: int, *, extra_channels: int, align_corners: bool, dropout: float
) -> UpBlock | UpThrough:
    """A level of the decoder, of the kind of block given; arguments as those of `UpBlock`."""
    if blocks == "plain":
        return UpBlock(
            spatial_dims, skip_channels, coarse_channels, extra_channels=extra_channels, align_corners=align_corners, dropout=dropout
        )
    convs = BLOCKS[blocks](spatial_dims, skip_channels + extra_channels + coarse_channels, skip_channels, dropout=dropout)
    return UpThrough(convs, align_corners=align_corners)
