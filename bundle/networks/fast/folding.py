"""Inference without batch norms, and with the gates of a skip merged: exact algebra on the weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bundle.networks.blocks import ConvNormAct, not_none, resize
from bundle.networks.fast.convolve import conv_same, convolve
from bundle.networks.fast.switch import plain_wanted
from bundle.networks.grid_gate import GridAttentionGate
from bundle.networks.skips import GatedSkip


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy of the network for evaluation only, its batch norms folded into the convolutions: same output, fewer passes.

    The linear layers that then follow each other in a gated skip are multiplied into one. The network given stays as it
    is; one of other parts than this package's comes back as a plain copy.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, ConvNormAct) and isinstance(module.norm, _BatchNorm):
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
        elif isinstance(module, GridAttentionGate) and isinstance(module.norm, _BatchNorm):
            module.W, module.norm = fuse_conv_bn_eval(module.W, module.norm), nn.Identity()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            # a variant computes its coefficients in its own way, and stays as it is
            if isinstance(child, GatedSkip) and all(type(gate) is GridAttentionGate for gate in child.gates):
                setattr(module, name, MergedSkip(child))
    return folded.eval().requires_grad_(False)


class MergedSkip(nn.Module):
    """A skip through additive gates without batch norms, all gates at once.

    `relu(sum_k combine_k W_k (alpha_k x) + bias)`: the two matrices of each gate become one, those of all gates are put side
    by side as one product with the concatenated alpha_k x, and so do theta, phi and psi.

    Args:
        skip: whose batch norms are folded already.
    """

    def __init__(self, skip: GatedSkip) -> None:
        super().__init__()
        gates = [gate for gate in skip.gates if isinstance(gate, GridAttentionGate)]
        width = gates[0].W.weight.shape[0]
        # of the products of one gate at a time: few enough to need no memory from the system, enough to be worth two threads
        self.piece_bytes = 8 * 2**20
        self.count, self.align_corners, self.coefficients_per_voxel = len(gates), gates[0].align_corners, len(gates)
        parts = skip.combine.conv.weight.flatten(1).split(width, dim=1)
        bias = not_none(skip.combine.conv.bias)
        self.theta = nn.Parameter(torch.cat([gate.theta.weight for gate in gates]))
        self.phi = nn.Parameter(torch.cat([gate.phi.weight for gate in gates]))
        self.phi_bias = nn.Parameter(torch.cat([not_none(gate.phi.bias) for gate in gates]))
        psi = torch.block_diag(*(gate.psi.weight.flatten(1) for gate in gates))
        self.psi = nn.Parameter(psi.reshape(*psi.shape, *[1] * (self.theta.dim() - 2)))
        self.psi_bias = nn.Parameter(torch.cat([not_none(gate.psi.bias) for gate in gates]))
        self.matrix = nn.Parameter(torch.cat([part @ gate.W.weight.flatten(1) for part, gate in zip(parts, gates, strict=True)], dim=1))
        self.bias = nn.Parameter(bias + sum(part @ not_none(gate.W.bias) for part, gate in zip(parts, gates, strict=True)))

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `GatedSkip.forward`; without gradients, what it returns takes the place of x in memory."""
        theta = convolve(x, self.theta, None, [0] * (x.dim() - 2), stride=2)
        phi = resize(conv_same(g, self.phi, self.phi_bias), list(theta.shape[2:]), self.align_corners)
        alpha = torch.sigmoid(conv_same(torch.relu_(theta.add_(phi)), self.psi, self.psi_bias))
        # so few channels resample twice as fast one after the other
        alpha = resize(alpha.contiguous(), list(x.shape[2:]), self.align_corners)
        alphas = list(alpha.split(1, dim=1))
        last = x.movedim(1, -1)
        if not plain_wanted() and not torch.is_grad_enabled() and last.is_contiguous():
            self._in_place(last.flatten(0, -2), alpha.to(x.dtype).movedim(1, 0).flatten(1).unsqueeze(-1))
            return x, alphas
        products = torch.cat([last * alpha.movedim(1, -1) for alpha in alphas], dim=-1)
        return torch.relu_(nn.functional.linear(products, self.matrix, self.bias)).movedim(-1, 1), alphas

    def _in_place(self, x: Tensor, alphas: Tensor) -> None:
        """The gated skip in place of x (voxels, channels), a piece at a time; alphas (gates, voxels, 1).

        Memory for all products at once is so much that it is fetched from the system anew each time (glibc does so from
        32 MB up), which took longer than the products themselves.
        """
        # autocast does not see what is written to memory that is there, so the types are made the same here
        matrix, bias, channels = self.matrix.to(x.dtype), self.bias.to(x.dtype), x.shape[1]
        piece = x.shape[0] if x.is_cuda else max(1, self.piece_bytes // (channels * x.element_size()))
        products = x.new_empty(min(piece, x.shape[0]), self.count * channels)
        for start in range(0, x.shape[0], piece):
            part = x[start : start + piece]
            for k in range(self.count):
                torch.mul(part, alphas[k, start : start + piece], out=products[: part.shape[0], k * channels : (k + 1) * channels])
            torch.addmm(bias, products[: part.shape[0]], matrix.t(), out=part)
            torch.relu_(part)
