"""The grid attention gate of Attention U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks import batch_norm, convolution, dropout_layer, not_none, resize
from bundle.networks.fast.convolve import conv_same

OPEN_LOGIT = 5.0  # sigmoid(5) = 0.9933: open, and still far enough from flat to learn to close


class GridAttentionGate(nn.Module):
    """Additive attention gate: scales a skip connection, voxel by voxel, by how well it fits the coarser gating signal.

    Equations (1) and (2) of https://arxiv.org/abs/1804.03999, with the sub-sampling of the authors' code:
    `q = psi(relu(theta(x) + phi(g)))`, `alpha = sigmoid(q)`, and the output `W(alpha * x)`. theta looks at x in steps of
    two, phi is resized to theta's grid and alpha to that of x. W is a 1x1x1 convolution with batch norm.

    A variant overrides `compare`, `gain` or the like (`bundle.networks.variants`) and plugs into the same network.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the skip x.
        gating_channels: channels of the gating signal g.
        inter_channels: channels in which x and g are compared; None: as many as x has, like the authors.
        align_corners: how corners are treated when resizing.
        dropout: probability of dropping a value of the gated skip.

    Raises:
        ValueError: `spatial_dims` is not 2 or 3, or a number of channels is less than 1.
    """

    # whether only the coarsest skip can afford it; the others are additive then
    coarsest_only = False
    # whether the product of x and alpha is all: no W, and no convolution that combines several gates
    bare = False

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
        if spatial_dims not in (2, 3) or min(in_channels, gating_channels, inter_channels) < 1:
            given = f"{spatial_dims=}, {in_channels=}, {gating_channels=}, {inter_channels=}"
            raise ValueError(f"a gate has 2 or 3 spatial_dims and at least one channel of each kind, not {given}")
        self.align_corners = align_corners
        self.coefficients_per_voxel = self.count_coefficients(in_channels)
        self.theta = convolution(spatial_dims, in_channels, inter_channels, 2, stride=2, bias=False)
        self.phi = convolution(spatial_dims, gating_channels, inter_channels, 1)
        self.psi = convolution(spatial_dims, inter_channels, self.coefficients_per_voxel, 1)
        self.W = convolution(spatial_dims, in_channels, in_channels, 1)
        self.norm: nn.Module = batch_norm(spatial_dims, in_channels)
        self.dropout = dropout_layer(dropout)

    @staticmethod
    def count_coefficients(in_channels: int) -> int:
        """Channels of alpha: one, or as many as the skip has."""
        return 1

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Gate the skip x (B, in_channels, *spatial), at least 2 voxels each way, by g (B, gating_channels, *coarser).

        Returns:
            The gated skip (B, in_channels, *spatial), and alpha (B, 1, *spatial) in [0, 1].
        """
        x = self.features(x)
        alpha = resize(self.coefficients(x, g), list(x.shape[2:]), self.align_corners)
        return self.transform(x * self.gain(alpha)), alpha

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """alpha on the grid on which x and g are compared: (B, 1, *half of x's spatial), in [0, 1]."""
        theta = self.theta(x)
        phi = resize(conv_same(self.signal(g), self.phi.weight, self.phi.bias), list(theta.shape[2:]), self.align_corners)
        return self.normalise(conv_same(self.compare(theta, phi), self.psi.weight, self.psi.bias))

    def features(self, x: Tensor) -> Tensor:
        """What is gated, from the skip x."""
        return x

    def signal(self, g: Tensor) -> Tensor:
        """The gating signal that phi sees, from g."""
        return g

    def compare(self, theta: Tensor, phi: Tensor) -> Tensor:
        """What psi looks at, from theta(x) and phi(g)."""
        return torch.relu(theta + phi)

    def normalise(self, q: Tensor) -> Tensor:
        """From psi's output to alpha."""
        return torch.sigmoid(q)

    def gain(self, alpha: Tensor) -> Tensor:
        """By what x is multiplied."""
        return alpha

    def transform(self, gated: Tensor) -> Tensor:
        """W: what follows the product of x and alpha."""
        return self.dropout(self.norm(conv_same(gated, self.W.weight, self.W.bias)))

    @torch.no_grad()
    def open(self) -> float:
        """Set the weights so that the same gain applies everywhere, whatever x and g, with alpha near 1; returns that gain."""
        nn.init.zeros_(self.psi.weight)
        bias = not_none(self.psi.bias)
        nn.init.constant_(bias, OPEN_LOGIT)
        return self.gain(torch.sigmoid(bias[:1].reshape([1] * self.psi.weight.dim()))).item()
