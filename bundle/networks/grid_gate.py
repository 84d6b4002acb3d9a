"""The grid attention gate of Attention U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks import batch_norm, conv_same, convolution, dropout_layer, resize


class GridAttentionGate(nn.Module):
    """Additive attention gate: scales a skip connection, voxel by voxel, by how well it fits the coarser gating signal.

    Equations (1) and (2) of https://arxiv.org/abs/1804.03999, with the sub-sampling of the authors' code:
    `q = psi(relu(theta(x) + phi(g)))`, `alpha = sigmoid(q)`, and the output `W(alpha * x)`. theta looks at x in steps of
    two, phi is resized to theta's grid and alpha to that of x. W is a 1x1x1 convolution with batch norm.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the skip x.
        gating_channels: channels of the gating signal g.
        inter_channels: channels in which x and g are compared; None: as many as x has, like the authors.
        align_corners: how corners are treated when resizing.
        dropout: probability of dropping a value of the gated skip.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        gating_channels: int,
        inter_channels: int | None = None,
        *,
        align_corners: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inter_channels = in_channels if inter_channels is None else inter_channels
        self.align_corners = align_corners
        self.theta = convolution(spatial_dims, in_channels, inter_channels, 2, stride=2, bias=False)
        self.phi = convolution(spatial_dims, gating_channels, inter_channels, 1)
        self.psi = convolution(spatial_dims, inter_channels, 1, 1)
        self.W = convolution(spatial_dims, in_channels, in_channels, 1)
        self.norm = batch_norm(spatial_dims, in_channels)
        self.dropout = dropout_layer(dropout)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Gate the skip x (B, in_channels, *spatial) by g (B, gating_channels, *coarser).

        Returns:
            The gated skip (B, in_channels, *spatial), and alpha (B, 1, *spatial) in [0, 1].
        """
        alpha = resize(self.coefficients(x, g), list(x.shape[2:]), self.align_corners)
        return self.transform(x * alpha), alpha

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """alpha on the grid on which x and g are compared: (B, 1, *half of x's spatial), in [0, 1]."""
        theta = self.theta(x)
        phi = resize(conv_same(g, self.phi.weight, self.phi.bias), list(theta.shape[2:]), self.align_corners)
        return torch.sigmoid(conv_same(torch.relu(theta + phi), self.psi.weight, self.psi.bias))

    def transform(self, gated: Tensor) -> Tensor:
        """W: what follows the product of x and alpha."""
        return self.dropout(self.norm(conv_same(gated, self.W.weight, self.W.bias)))
