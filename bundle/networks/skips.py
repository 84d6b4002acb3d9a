"""What a skip connection passes through on its way to the decoder: nothing, or one or more attention gates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.networks.blocks import ConvNormAct
from bundle.networks.checkpointing import Checkpointable, checkpointed
from bundle.networks.fast.convolve import conv_same
from bundle.networks.grid_gate import GridAttentionGate


class OpenSkip(nn.Module):
    """A skip connection without a gate, as in the plain U-Net."""

    coefficients_per_voxel = 0

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x itself whatever g, and no coefficients."""
        coefficients: list[Tensor] = []
        return x, coefficients


class GatedSkip(Checkpointable):
    """A skip connection through gates side by side, brought back to the skip's channels by a 1x1x1 convolution.

    Args:
        gates: each `gate(x, g) -> (gated, alpha)`.
        spatial_dims: 2 or 3.
        channels: channels of the skip, and of what each gate returns.
        dropout: probability of dropping a value.
    """

    def __init__(self, gates: Sequence[GridAttentionGate], spatial_dims: int, channels: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.gates = nn.ModuleList(gates)
        self.coefficients_per_voxel = sum(gate.coefficients_per_voxel for gate in gates)
        self.combine = ConvNormAct(spatial_dims, channels * len(gates), channels, kernel_size=1, dropout=dropout)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gate the skip x (B, channels, *spatial) by g (B, gating_channels, *coarser).

        Returns:
            The gated skip (B, channels, *spatial), and alpha (B, 1, *spatial) of each gate.
        """
        if not torch.jit.is_scripting():
            if self.saves_memory():
                return checkpointed(self, x, g)
        coefficients: list[Tensor] = []
        weights = self.combine.conv.weight.split(x.shape[1], dim=1)
        total = x
        for i, gate in enumerate(self.gates):
            y, alpha = gate(x, g)
            # the convolution of concatenated channels is the sum of the parts' convolutions
            y = conv_same(y, weights[i], self.combine.conv.bias if i == 0 else None)
            total = y if i == 0 else total + y
            coefficients.append(alpha)
        return self.combine.finish(total), coefficients


class BareSkip(nn.Module):
    """A skip times the coefficient of its gate, with nothing after the product; of several gates, the mean of the products.

    Args:
        gates: each `gate(x, g) -> (gated, alpha)`, for instance `bundle.networks.variants.PaperGate`.
    """

    def __init__(self, gates: Sequence[GridAttentionGate]) -> None:
        super().__init__()
        self.gates = nn.ModuleList(gates)
        self.coefficients_per_voxel = sum(gate.coefficients_per_voxel for gate in gates)

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gate the skip x (B, channels, *spatial) by g (B, gating_channels, *coarser): of x's shape, and alpha of each gate."""
        coefficients: list[Tensor] = []
        total = x
        for i, gate in enumerate(self.gates):
            y, alpha = gate(x, g)
            total = y if i == 0 else total + y
            coefficients.append(alpha)
        return total if len(self.gates) == 1 else total / len(self.gates), coefficients
