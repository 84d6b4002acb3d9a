"""How the network starts: the authors' initialisation, and gates that let everything pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bundle.networks.blocks import not_none
from bundle.networks.checkpointing import Block
from bundle.networks.grid_gate import GridAttentionGate
from bundle.networks.residual_dense import UpThrough
from bundle.networks.skips import BareSkip, GatedSkip

if TYPE_CHECKING:
    from bundle.networks.attention_unet import AttentionUnet


def initialise(network: AttentionUnet, init: str) -> None:
    """Initialise all weights: "authors" as in their code, "open" with gates that let everything pass besides.

    Authors: convolutions Kaiming normal by fan-in, the weights of batch norms from N(1, 0.02).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
        elif isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
    if init == "open":
        open_gates(network)


@torch.no_grad()
def open_gates(network: AttentionUnet) -> None:
    """Set the gates so that each skip passes unchanged and alpha is near 1 everywhere, whatever the other weights.

    psi starts at zero but for its bias, W and the convolution that combines the gates at the identity. The batch norms
    of a gate are given the running statistics of the skip, and the weight and bias that undo them: so the gate is the
    identity in evaluation. While training, batch norms use the batch's own statistics instead; the ones set here are
    what the skip has if the batch norm before its ReLU gives a normal distribution (weight and bias are its standard
    deviation and mean), so that training starts near the identity as well.
    """
    for gated, block in (
        *zip(network.skips, reversed(network.encoder), strict=True),
        *zip(network.encoder_gates, network.encoder, strict=True),
        *zip(network.decoder_gates, network.decoder, strict=True),
    ):
        if isinstance(gated, GatedSkip):
            assert isinstance(block, (Block, UpThrough))
            (mean, sd), *others = (_mean_and_sd(norm) for norm in block.norms_before_relu())
            for more, spread in others:
                mean, sd = mean + more, torch.hypot(sd, spread)
            _open_skip(gated, *rectified_moments(mean, sd))
        elif isinstance(gated, BareSkip):
            for gate in _gates(gated):
                gate.open()


def _gates(skip: GatedSkip | BareSkip) -> list[GridAttentionGate]:
    gates: list[GridAttentionGate] = []
    for gate in skip.gates:
        assert isinstance(gate, GridAttentionGate)
        gates.append(gate)
    return gates


def _mean_and_sd(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Of a batch norm's output, where its input is normal."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    return norm.bias, norm.weight


def rectified_moments(mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of max(0, z), z normal with the mean and the standard deviation given (elementwise)."""
    sd = sd.abs().clamp_min(1e-6)
    ratio = mean / sd
    density = torch.exp(-0.5 * ratio**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + torch.erf(ratio / math.sqrt(2)))
    first = mean * below + sd * density
    second = (mean**2 + sd**2) * below + mean * sd * density
    return first, (second - first**2).clamp_min(0)


def _open_skip(skip: GatedSkip, mean: Tensor, variance: Tensor) -> None:
    """Make one skip the identity for features with the mean and variance given, per channel."""
    identity = torch.eye(len(mean))
    shares = []
    for gate in _gates(skip):
        gain = gate.open()
        gate.W.weight.copy_(identity.reshape(gate.W.weight.shape))
        nn.init.zeros_(not_none(gate.W.bias))
        _pass_through(gate.norm, gain * mean, gain**2 * variance)
        shares.append(identity / (gain * len(skip.gates)))
    conv = skip.combine.conv
    conv.weight.copy_(torch.cat(shares, dim=1).reshape(conv.weight.shape))
    nn.init.zeros_(not_none(conv.bias))
    _pass_through(skip.combine.norm, mean, variance)


def _pass_through(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    """Give a batch norm these running statistics, and the weight and bias that undo them."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)
