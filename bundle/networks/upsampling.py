"""Up-sampling and the convolution after it in one: exact algebra that never builds the up-sampled features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv_of_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """The 3x3x3 convolution (zero padding) of x up-sampled twice (bi- or trilinear, corners not aligned), in one step.

    On each of the 2**spatial_dims phases of the fine grid, up-sampling and convolution together are a convolution of the
    coarse grid, again 3x3x3. So one coarse convolution gives all phases as channels, which are then interleaved: the same
    number of multiplications, over fewer voxels of more channels, and without the up-sampled tensor. That takes the
    voxels beyond the border for repeated where the convolution takes them for zero; the border is corrected for that.

    Args:
        x: (B, in_channels, *spatial).
        weight: (out_channels, in_channels, 3, 3[, 3]).

    Returns:
        (B, out_channels, *2 spatial).
    """
    dims = x.dim() - 2
    phases = phase_weights(weight)
    padded = F.pad(x, [1, 1] * dims, mode="replicate")
    fine = interleave(F.conv2d(padded, phases) if dims == 2 else F.conv3d(padded, phases))
    for axis in range(dims):
        for side in range(2):
            fine.select(axis + 2, -side).sub_(_beyond(x, weight, axis, side))
    return fine


def phase_weights(weight: Tensor) -> Tensor:
    """Kernels (phases * out_channels, in_channels, 3, 3[, 3]) of `conv_of_upsampled`, the phases of the last axis varying fastest."""
    # [phase, coarse tap, fine tap]: the fine voxels 2i + phase + (-1, 0, 1) as mixtures of the coarse voxels i + (-1, 0, 1)
    even = [[0.75, 0.25, 0.0], [0.25, 0.75, 0.75], [0.0, 0.0, 0.25]]
    odd = [[0.25, 0.0, 0.0], [0.75, 0.75, 0.25], [0.0, 0.25, 0.75]]
    mix = torch.tensor([even, odd], dtype=torch.float32, device=weight.device)
    out_channels, in_channels = weight.shape[0], weight.shape[1]
    kernel = weight.float()
    if weight.dim() == 4:
        phases = torch.einsum("pay,qbx,oiyx->pqoiab", mix, mix, kernel)
    else:
        phases = torch.einsum("rcx,pqoiabx->pqroiabc", mix, torch.einsum("paz,qby,oizyx->pqoiabx", mix, mix, kernel))
    shape = [out_channels << (weight.dim() - 2), in_channels] + [3] * (weight.dim() - 2)
    return phases.reshape(shape).to(weight.dtype)


def interleave(phases: Tensor) -> Tensor:
    """(B, phases * channels, *spatial) to (B, channels, *2 spatial), in channels-last memory."""
    dims = phases.dim() - 2
    last = phases.movedim(1, -1)
    channels = phases.shape[1] >> dims
    if dims == 2:
        b, h, w = last.shape[0], last.shape[1], last.shape[2]
        last = last.reshape(b, h, w, 2, 2, channels).permute(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, channels)
    else:
        b, d, h, w = last.shape[0], last.shape[1], last.shape[2], last.shape[3]
        last = last.reshape(b, d, h, w, 2, 2, 2, channels).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, 2 * d, 2 * h, 2 * w, channels)
    return last.movedim(-1, 1)


def _beyond(x: Tensor, weight: Tensor, axis: int, side: int) -> Tensor:
    """What voxels beyond one face, if repeated there, add to that face: (B, out_channels, *2 spatial without the axis).

    Along the axes before this one, the border is still taken for repeated; along those after it, it is zero already.
    """
    dims = x.dim() - 2
    face = x.select(axis + 2, -side)
    mode = "linear" if dims == 2 else "bilinear"
    face = F.interpolate(face, scale_factor=2.0, mode=mode, align_corners=False)
    taps = weight.select(axis + 2, 2 * side)
    padding = [1] * (dims - 1)
    if axis > 0:
        repeat: list[int] = []
        for other in range(dims - 2, -1, -1):
            repeat += [1, 1] if other < axis else [0, 0]
            if other < axis:
                padding[other] = 0
        face = F.pad(face, repeat, mode="replicate")
    return F.conv1d(face, taps, padding=padding) if dims == 2 else F.conv2d(face, taps, padding=padding)
