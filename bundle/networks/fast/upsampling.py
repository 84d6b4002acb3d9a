"""Up-sampling and the convolution after it in one: exact algebra that never builds the up-sampled features."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bundle.networks.fast.convolve import convolve
from bundle.networks.fast.slabs import conv_planes


def conv_of_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """The 3x3x3 convolution (zero padding) of x up-sampled twice (bi- or trilinear, corners not aligned), in one step.

    On each of the 2**spatial_dims phases of the fine grid, up-sampling and convolution together are a convolution of the
    coarse grid, again 3x3x3. So one coarse convolution gives all phases as channels, which are then interleaved: the same
    number of multiplications, over fewer voxels of more channels, and without the up-sampled tensor. That takes coarse
    voxels beyond the border for zero where up-sampling repeats the last ones; the faces are corrected for that.

    Args:
        x: (B, in_channels, *spatial).
        weight: (out_channels, in_channels, 3, 3[, 3]).

    Returns:
        (B, out_channels, *2 spatial).
    """
    dims = x.dim() - 2
    phases = phase_weights(weight)
    fine = interleave(convolve(x, phases, None, [1] * dims))
    # changes in place are made before the view that moves the channels: autograd would copy everything for those of a view
    faces: list[Tensor] = []
    for axis in range(dims):
        for side in range(2):
            faces.append(_border(x, weight, axis, side))
    fine = add_faces(fine, faces) if torch.jit.is_scripting() else _AddFaces.apply(fine, *faces)
    return fine.movedim(-1, 1)


class PlanesOfUpsampled:
    """`conv_of_upsampled` in 3-D, some planes of the first spatial axis at a time.

    Args:
        x: (B, in_channels, *spatial).
        weight: (out_channels, in_channels, 3, 3, 3).
    """

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        self.x, self.phases = x, phase_weights(weight)
        self.faces = [_border(x, weight, axis, side) for axis in range(3) for side in range(2)]

    def add_to(self, planes: Tensor, start: int, stop: int) -> Tensor:
        """Add planes start to stop of the fine grid, both even, to (B, out_channels, stop - start, *2 spatial[1:]), in place."""
        coarse = conv_planes(self.x, start // 2, stop // 2, self.phases, None)
        fine = planes.movedim(1, -1)
        b, d, h, w, c = fine.shape
        fine.view(b, d // 2, 2, h // 2, 2, w // 2, 2, c).add_(_phases_apart(coarse))
        for i, face in enumerate(self.faces):
            axis, side = divmod(i, 2)
            if axis > 0:
                face = face.narrow(1, start, stop - start)
            elif not (start == 0, stop == 2 * self.x.shape[2])[side]:
                continue
            fine.narrow(1 + axis, side * (fine.shape[1 + axis] - 2), 2).add_(face)
        return planes


def add_faces(x: Tensor, faces: list[Tensor]) -> Tensor:
    """Add, in place, to the first two and the last two slices of each axis of x (B, *spatial, C), in this order."""
    for i, face in enumerate(faces):
        x.narrow(1 + i // 2, 0 if i % 2 == 0 else x.shape[1 + i // 2] - 2, 2).add_(face)
    return x


class _AddFaces(torch.autograd.Function):
    """`add_faces` whose gradients are views: autograd's own would copy all of x once for each face."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *faces: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.faces = len(faces)
        return add_faces(x, list(faces))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad, *(grad.narrow(1 + i // 2, 0 if i % 2 == 0 else grad.shape[1 + i // 2] - 2, 2) for i in range(ctx.faces))


def phase_weights(weight: Tensor) -> Tensor:
    """Kernels (phases * out_channels, in_channels, 3, 3[, 3]) of `conv_of_upsampled`, the phases of the last axis varying fastest."""
    kernels = weight.float().unsqueeze(0)
    for axis in range(3, kernels.dim()):
        before, at, after = kernels.unbind(axis)
        # fine voxels 2i - 1, 2i, 2i + 1 (even phase) and 2i, 2i + 1, 2i + 2 (odd) as mixtures of the coarse i - 1, i, i + 1;
        # by sums and not by a matrix, which autocast would round
        even = torch.stack([0.75 * before + 0.25 * at, 0.25 * before + 0.75 * (at + after), 0.25 * after], dim=axis)
        odd = torch.stack([0.25 * before, 0.75 * (before + at) + 0.25 * after, 0.25 * at + 0.75 * after], dim=axis)
        kernels = torch.stack([even, odd], dim=1).flatten(0, 1)
    return kernels.flatten(0, 1).to(weight.dtype)


def interleave(phases: Tensor) -> Tensor:
    """(B, phases * channels, *spatial) to (B, *2 spatial, channels)."""
    apart = _phases_apart(phases)
    size = [len(phases)]
    for axis in range(2, phases.dim()):
        size.append(2 * phases.shape[axis])
    # in one step: what is changed in place after this is then no view, whose gradients are copied as a whole
    return apart.reshape(size + [-1])  # noqa: RUF005  TorchScript knows no list with a star


def _phases_apart(phases: Tensor) -> Tensor:
    """(B, phases * channels, *spatial) to a view in the order of the fine grid: (B, D, 2, H, 2[, W, 2], channels)."""
    last = phases.movedim(1, -1)
    if phases.dim() == 4:
        return last.unflatten(-1, [2, 2, phases.shape[1] // 4]).permute(0, 1, 3, 2, 4, 5)
    return last.unflatten(-1, [2, 2, 2, phases.shape[1] // 8]).permute(0, 1, 4, 2, 5, 3, 6, 7)


def _border(x: Tensor, weight: Tensor, axis: int, side: int) -> Tensor:
    """What the two fine slices next to one face lack: (B, *2 spatial with 2 along the axis, out_channels).

    In one dimension, with the voxel beyond the border taken for zero instead of repeated, the first fine voxel is short of
    a quarter of the first coarse voxel, and the fine voxel before it, which the convolution must take for zero, has a
    quarter of it. In more, the axes before this one are corrected already, so here they end in zeros too; those after it
    are exact.
    """
    dims = x.dim() - 2
    face = x.select(axis + 2, -side)
    outer, middle = 0.25 * weight.select(axis + 2, 2 * side), 0.25 * weight.select(axis + 2, 1)
    taps = torch.cat([outer, middle - outer] if side else [middle - outer, outer])
    zeros: list[int] = []
    padding = [1] * (dims - 1)
    for other in range(dims - 2, -1, -1):
        zeros += [1, 1] if other < axis else [0, 0]
        if other < axis:
            padding[other] = 0
    face = F.pad(face, zeros) if axis > 0 else face
    face = F.interpolate(face, scale_factor=2.0, mode="linear" if dims == 2 else "bilinear", align_corners=False)
    for other in range(axis):
        face = face.narrow(other + 2, 1, face.shape[other + 2] - 2)
    face = F.conv1d(face, taps, padding=padding) if dims == 2 else F.conv2d(face, taps, padding=padding)
    face = face.unflatten(1, [2, weight.shape[0]])
    return face.movedim(2, -1).movedim(1, axis + 1)
