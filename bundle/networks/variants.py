"""Gates that the paper and its readers discuss besides the additive one; each plugs into the same network.

`AttentionUnet(gate="residual")` and so on; docs/network.md says when to use which.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.blocks import convolution, resize
from bundle.networks.convolve import conv_same
from bundle.networks.grid_gate import OPEN_LOGIT, GridAttentionGate


class ResidualGate(GridAttentionGate):
    """Highway around the gate: x is multiplied by 1 + alpha, so the gate can stress but never remove.

    The paper's discussion names this for better gradients and softer attention (section 5).
    """

    def gain(self, alpha: Tensor) -> Tensor:
        return 1 + alpha


class MultiplicativeGate(GridAttentionGate):
    """theta(x) and phi(g) are multiplied instead of added: cheaper attention of https://arxiv.org/abs/1508.04025.

    The paper chose addition for its higher accuracy (section 2.2).
    """

    def compare(self, theta: Tensor, phi: Tensor) -> Tensor:
        return theta * phi


class SoftmaxGate(GridAttentionGate):
    """Softmax over all voxels instead of the sigmoid: the coefficients sum to one on the grid on which they are computed.

    The paper found it to give sparser activations (section 2.2); the authors' code calls it `concatenation_residual`. x
    is multiplied by alpha times the number of voxels, one on average, so that the gain does not depend on the volume's
    size (in the authors' code only the batch norm after it takes that back).
    """

    def normalise(self, q: Tensor) -> Tensor:
        return torch.softmax(q.flatten(2), dim=2).reshape(q.shape)

    def gain(self, alpha: Tensor) -> Tensor:
        voxels = 1
        for axis in range(2, alpha.dim()):
            voxels *= alpha.shape[axis] // 2
        return alpha * voxels

    @torch.no_grad()
    def open(self) -> float:
        nn.init.zeros_(self.psi.weight)
        nn.init.zeros_(self.psi.bias)
        return 1.0


class ChannelwiseGate(GridAttentionGate):
    """One coefficient per voxel and channel: the multi-dimensional attention that the paper proposes for several classes.

    alpha is (B, in_channels, *spatial).
    """

    @staticmethod
    def count_coefficients(in_channels: int) -> int:
        return in_channels


class DualGate(GridAttentionGate):
    """Where and what: a spatial and a channel coefficient, both computed from the concatenation [x, g], multiplied.

    The spatial one is a 1x1x1 convolution over the concatenation of theta(x) and phi(g), the channel one a layer over the
    averages of x and g (squeeze and excitation, https://arxiv.org/abs/1709.01507). alpha is (B, in_channels, *spatial).
    """

    @staticmethod
    def count_coefficients(in_channels: int) -> int:
        return in_channels

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
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, align_corners=align_corners, dropout=dropout)
        self.psi = convolution(spatial_dims, 2 * self.phi.weight.shape[0], 1, 1)
        self.channels = convolution(spatial_dims, in_channels + gating_channels, in_channels, 1)

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        """alpha (B, in_channels, *half of x's spatial) in [0, 1]."""
        theta = self.theta(x)
        phi = resize(conv_same(g, self.phi.weight, self.phi.bias), list(theta.shape[2:]), self.align_corners)
        where = torch.sigmoid(conv_same(torch.relu(torch.cat([theta, phi], dim=1)), self.psi.weight, self.psi.bias))
        averages = torch.cat([x.flatten(2).mean(2), g.flatten(2).mean(2)], dim=1).reshape([x.shape[0], -1] + [1] * (x.dim() - 2))
        return where * torch.sigmoid(conv_same(averages, self.channels.weight, self.channels.bias))

    @torch.no_grad()
    def open(self) -> float:
        nn.init.zeros_(self.channels.weight)
        nn.init.constant_(self.channels.bias, OPEN_LOGIT)
        return super().open() ** 2


GATES: dict[str, type[GridAttentionGate]] = {
    "additive": GridAttentionGate,
    "residual": ResidualGate,
    "multiplicative": MultiplicativeGate,
    "softmax": SoftmaxGate,
    "channelwise": ChannelwiseGate,
    "dual": DualGate,
}
