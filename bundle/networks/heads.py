"""From the decoder's features of all levels to logits."""

from __future__ import annotations

from torch import Tensor, nn

from bundle.networks.blocks import conv_same, convolution, resize


class FusedHeads(nn.Module):
    """Deep supervision as in the authors' code: classes from every level of the decoder, fused at full size.

    There, each level's features go through a 1x1x1 convolution to the classes, are up-sampled and concatenated, and a
    last 1x1x1 convolution makes the logits. A 1x1x1 convolution and up-sampling commute (the weights of linear
    interpolation sum to one, so biases pass too), so here both convolutions are multiplied into one, applied on each
    level's own grid, and only the few classes are up-sampled: the same function, without the full-size concatenation.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the decoder's levels, the finest first.
        out_channels: number of classes.
        align_corners: how corners are treated when up-sampling.
    """

    def __init__(self, spatial_dims: int, channels: list[int], out_channels: int, *, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.out_channels = out_channels
        self.levels = nn.ModuleList(convolution(spatial_dims, width, out_channels, 1) for width in channels)
        self.final = convolution(spatial_dims, out_channels * len(channels), out_channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features (B, channels[i], *spatial / 2**i), the finest first, to logits (B, out_channels, *spatial)."""
        size = list(features[0].shape[2:])
        logits = features[0]
        for i, head in enumerate(self.levels):
            final = self.final.weight.narrow(1, i * self.out_channels, self.out_channels).flatten(1)
            weight = (final @ head.weight.flatten(1)).reshape(head.weight.shape)
            bias = final @ given(head.bias)
            if i == 0:
                logits = conv_same(features[0], weight, bias + given(self.final.bias))
            else:
                logits = logits + resize(conv_same(features[i], weight, bias), size, self.align_corners)
        return logits

    def auxiliary(self, features: list[Tensor]) -> list[Tensor]:
        """Logits of each level on its own grid, the finest first, before they are fused."""
        return [head(feature) for head, feature in zip(self.levels, features, strict=True)]


def given(bias: Tensor | None) -> Tensor:
    """The bias of a convolution that has one: TorchScript takes every bias for optional."""
    assert bias is not None
    return bias
