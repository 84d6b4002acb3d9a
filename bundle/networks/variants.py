"""Gates that the paper and its readers discuss besides the additive one; each plugs into the same network.

`AttentionUnet(gate="residual")` and so on; docs/network.md says when to use which.
"""

from __future__ import annotations

import math
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from bundle.networks.blocks import convolution, not_none, resize
from bundle.networks.fast.convolve import conv_same
from bundle.networks.grid_gate import OPEN_LOGIT, GridAttentionGate


class Options(TypedDict, total=False):
    """Arguments that every gate hands on to `GridAttentionGate`."""

    align_corners: bool
    dropout: float


class PaperGate(GridAttentionGate):
    """Equations (1) and (2) of https://arxiv.org/abs/1804.03999 to the letter.

    theta and phi are 1x1x1, theta of the skip down-sampled to g's grid (by 2, so the mean of 2x2x2 voxels), and x times alpha is the
    output: no W, no batch norm, nothing that combines several gates. The authors' code has all of these.
    """

    bare = True

    def __init__(
        self, spatial_dims: int, in_channels: int, gating_channels: int, inter_channels: int | None = None, **arguments: Unpack[Options]
    ) -> None:
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, **arguments)
        self.theta = convolution(spatial_dims, in_channels, self.theta.weight.shape[0], 1, bias=False)
        self.add_module("W", nn.Identity())
        self.norm = nn.Identity()

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        theta = conv_same(resize(x, list(g.shape[2:]), self.align_corners), self.theta.weight, None)
        phi = conv_same(g, self.phi.weight, self.phi.bias)
        return self.normalise(conv_same(self.compare(theta, phi), self.psi.weight, self.psi.bias))

    def transform(self, gated: Tensor) -> Tensor:
        return self.dropout(gated)


class ResidualGate(GridAttentionGate):
    """Highway around the gate: x is multiplied by 1 + alpha, so the gate can stress but never remove.

    The paper's discussion names this, for better gradients and softer attention.
    """

    def gain(self, alpha: Tensor) -> Tensor:
        return 1 + alpha


class MultiplicativeGate(GridAttentionGate):
    """theta(x) and phi(g) are multiplied instead of added: cheaper attention of https://arxiv.org/abs/1508.04025.

    The paper chose addition for its higher accuracy.
    """

    def compare(self, theta: Tensor, phi: Tensor) -> Tensor:
        return theta * phi


class SoftmaxGate(GridAttentionGate):
    """Softmax over all voxels instead of the sigmoid: the coefficients sum to one on the grid on which they are computed.

    The paper found it to give sparser activations; the authors' code calls it `concatenation_residual`. x
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
        nn.init.zeros_(not_none(self.psi.bias))
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
        self, spatial_dims: int, in_channels: int, gating_channels: int, inter_channels: int | None = None, **arguments: Unpack[Options]
    ) -> None:
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, **arguments)
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
        nn.init.constant_(not_none(self.channels.bias), OPEN_LOGIT)
        return super().open() ** 2


class LinearGate(GridAttentionGate):
    """alpha = sigmoid(W [x, g] + b): one linear map of the concatenation, without the ReLU between psi and its inputs.

    theta and phi have one channel each, so psi only scales their sum.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, gating_channels: int, inter_channels: int | None = 1, **arguments: Unpack[Options]
    ) -> None:
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, **arguments)

    def compare(self, theta: Tensor, phi: Tensor) -> Tensor:
        return theta + phi


class GlobalGate(GridAttentionGate):
    """A single gating vector instead of a grid: g is averaged over all its voxels, as in https://arxiv.org/abs/1804.02391.

    This is what grid attention is compared with. Patches must show what whole volumes show, since g is an average over them.
    """

    def signal(self, g: Tensor) -> Tensor:
        return g.flatten(2).mean(2).reshape([g.shape[0], -1] + [1] * (g.dim() - 2))


class MultiheadGate(GridAttentionGate):
    """Each voxel of the skip asks all voxels of g by multi-head attention (https://arxiv.org/abs/1706.03762), and the answer gates it.

    Queries are theta(x), keys and values are maps of g; `alpha = sigmoid(psi(relu(theta + answer)))`. Only the coarsest skip has it, others
    stay additive: time grows with queries x keys. With a volume of 160x160x96 that skip has 600 queries and 600 keys: 1.4 MB per head and
    sample in float32 (less where PyTorch's kernel keeps no matrix).

    Args:
        heads: how many; None: 4, or as many of them as divide the channels.

    Raises:
        ValueError: `inter_channels` is not a multiple of `heads`.
    """

    coarsest_only = True

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        gating_channels: int,
        inter_channels: int | None = None,
        *,
        heads: int | None = None,
        **arguments: Unpack[Options],
    ) -> None:
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, **arguments)
        width = self.theta.weight.shape[0]
        heads = math.gcd(width, 4) if heads is None else heads
        if width % heads:
            raise ValueError(f"{width} channels cannot be shared out among {heads} heads")
        self.heads = heads
        self.keys = convolution(spatial_dims, gating_channels, width, 1)

    def coefficients(self, x: Tensor, g: Tensor) -> Tensor:
        theta = self.theta(x)
        keys = conv_same(g, self.keys.weight, self.keys.bias)
        values = conv_same(g, self.phi.weight, self.phi.bias)
        answer = attend(theta, keys, values, self.heads).reshape(theta.shape)
        return self.normalise(conv_same(torch.relu(theta + answer), self.psi.weight, self.psi.bias))


class NonlocalGate(GridAttentionGate):
    """The additive gate after a non-local block: x plus what all voxels of x say to each one (https://arxiv.org/abs/1711.07971).

    Embedded Gaussian; keys and values are on a grid of every second voxel, as in the authors' `unet_nonlocal_3D`. Only the coarsest
    skip has it, others stay additive: with a volume of 160x160x96, 4,800 queries x 600 keys take 11.5 MB per sample in float32.
    """

    coarsest_only = True

    def __init__(
        self, spatial_dims: int, in_channels: int, gating_channels: int, inter_channels: int | None = None, **arguments: Unpack[Options]
    ) -> None:
        super().__init__(spatial_dims, in_channels, gating_channels, inter_channels, **arguments)
        width = self.theta.weight.shape[0]
        self.query = convolution(spatial_dims, in_channels, width, 1)
        self.keys = convolution(spatial_dims, in_channels, width, 2, stride=2)
        self.values = convolution(spatial_dims, in_channels, width, 2, stride=2)
        self.out = convolution(spatial_dims, width, in_channels, 1)

    def features(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to the same shape."""
        query = conv_same(x, self.query.weight, self.query.bias)
        weights = torch.softmax(query.flatten(2).transpose(1, 2) @ self.keys(x).flatten(2), dim=2)
        answer = (weights @ self.values(x).flatten(2).transpose(1, 2)).transpose(1, 2).reshape(query.shape)
        return x + conv_same(answer, self.out.weight, self.out.bias)

    @torch.no_grad()
    def open(self) -> float:
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(not_none(self.out.bias))
        return super().open()


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of voxels: queries (B, C, *grid), keys and values (B, C, *other), to (B, C, voxels of grid)."""
    shape = [queries.shape[0], heads, queries.shape[1] // heads, -1]
    q, k, v = queries.reshape(shape).transpose(2, 3), keys.reshape(shape).transpose(2, 3), values.reshape(shape).transpose(2, 3)
    answer = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return answer.transpose(2, 3).reshape(queries.shape[0], queries.shape[1], -1)


GATES: dict[str, type[GridAttentionGate]] = {
    "additive": GridAttentionGate,
    "paper": PaperGate,
    "residual": ResidualGate,
    "multiplicative": MultiplicativeGate,
    "softmax": SoftmaxGate,
    "channelwise": ChannelwiseGate,
    "dual": DualGate,
    "linear": LinearGate,
    "global": GlobalGate,
    "multihead": MultiheadGate,
    "nonlocal": NonlocalGate,
}
