"""From the decoder's features of all levels to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.networks.blocks import convolution, not_none, resize
from bundle.networks.fast.convolve import conv_same, feature_type
from bundle.networks.fast.switch import plain_wanted, switched_off


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
        classes: give the logits of these classes only, in this order; the rows of the others have no gradient. None: of all.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: list[int],
        out_channels: int,
        *,
        align_corners: bool = False,
        classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.out_channels = out_channels
        self.chosen = classes is not None
        self.rows: Tensor
        # follows the weights to their device, and is not one of them
        self.register_buffer("rows", torch.tensor(classes if classes is not None else range(out_channels)), persistent=False)
        self.levels = nn.ModuleList(convolution(spatial_dims, width, out_channels, 1) for width in channels)
        self.final = convolution(spatial_dims, out_channels * len(channels), out_channels, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features (B, channels[i], *spatial / 2**i), the finest first, to logits (B, out_channels or the chosen, *spatial).

        Empties `features` to free memory: the classes are all that is needed of them, and take far less.
        """
        if not torch.jit.is_scripting():
            if switched_off():
                return self._as_published(features)
        weights, total = self.fused()
        maps = [to_classes(feature, weight) for feature, weight in zip(features, weights)]  # noqa: B905  TorchScript knows no strict
        features.clear()
        return self.total_of(maps, total)

    def fused(self) -> tuple[list[Tensor], Tensor]:
        """Both convolutions in one: the weights (classes, channels[i], 1, 1[, 1]) of each level, and the sum of all biases (classes)."""
        weights: list[Tensor] = []
        fused, total = self.final.weight, not_none(self.final.bias)
        if self.chosen:
            fused, total = fused.index_select(0, self.rows), total.index_select(0, self.rows)
        for i, head in enumerate(self.levels):
            own, bias = head.weight, head.bias
            assert isinstance(own, Tensor) and isinstance(bias, Tensor)
            final = fused.narrow(1, i * self.out_channels, self.out_channels).flatten(1)
            # products by sums: autocast would round those of matrices
            total = total + (final * bias).sum(1)
            weight = (final.unsqueeze(2) * own.flatten(1)).sum(1)
            shape = list(own.shape)
            shape[0] = len(weight)
            weights.append(weight.reshape(shape))
        return weights, total

    def total_of(self, maps: list[Tensor], bias: Tensor) -> Tensor:
        """Logits of the maps of all levels, (B, classes, *spatial / 2**i), the finest first, which without gradients becomes them."""
        # biases pass through up-sampling, so all are added where there are fewest voxels
        maps[-1] = maps[-1] + bias.to(maps[-1].dtype).reshape([1, -1] + [1] * (maps[-1].dim() - 2))
        return sum_upsampled(maps, self.align_corners)

    @torch.jit.unused
    def _as_published(self, features: list[Tensor]) -> Tensor:
        """The same step by step: classes of each level, up-sampled, concatenated, fused."""
        size = list(features[0].shape[2:])
        maps = [resize(classes, size, self.align_corners) for classes in self._of_levels(features)]
        features.clear()
        logits = self.final(torch.cat(maps, dim=1))
        return logits.index_select(1, self.rows) if self.chosen else logits

    def auxiliary(self, features: list[Tensor]) -> list[Tensor]:
        """Logits of each level on its own grid, the finest first, before they are fused."""
        levels = self._of_levels(features)
        return [logits.index_select(1, self.rows) for logits in levels] if self.chosen else levels

    def _of_levels(self, features: list[Tensor]) -> list[Tensor]:
        heads = [head for head in self.levels if isinstance(head, (nn.Conv2d, nn.Conv3d))]
        return [conv_same(feature, head.weight, head.bias) for head, feature in zip(heads, features, strict=True)]


def sum_upsampled(maps: list[Tensor], align_corners: bool) -> Tensor:
    """The sum of maps (B, C, *spatial) of several grids, resampled linearly to the grid of the first.

    Linear resampling is a matrix on each axis. Along the first axis, by far the largest product, the matrices of all
    grids are put side by side, so that resampling and summing are one matrix product.
    """
    if plain_wanted() or len(maps) == 1:
        total = maps[0]
        for coarse in maps[1:]:
            total = total + resize(coarse, list(total.shape[2:]), align_corners)
        return total
    size = list(maps[0].shape)
    matrices = [resize_matrix(x, 2, size[2], align_corners) for x in maps[1:]]
    matrix = torch.cat(matrices, dim=1).expand([size[0] * size[1], -1, -1])
    finest = maps[0].flatten(3).flatten(0, 1)
    if torch.is_grad_enabled():
        return torch.baddbmm(finest, matrix, torch.cat([_in_plane(x, size, align_corners) for x in maps[1:]], dim=1)).reshape(size)
    others = torch.empty([matrix.shape[0], matrix.shape[2], finest.shape[2]], dtype=maps[1].dtype, device=finest.device)
    start = 0
    for x in maps[1:]:
        # into place one after the other: side by side they take as much as the logits
        others.narrow(1, start, x.shape[2]).copy_(_in_plane(x, size, align_corners))
        start += x.shape[2]
    if finest.dtype == others.dtype:
        # the largest tensor of all is written over, and not made a second time
        return torch.baddbmm(finest, matrix, others, out=finest).reshape(size)
    return torch.baddbmm(finest, matrix, others).reshape(size)


def _in_plane(x: Tensor, size: list[int], align_corners: bool) -> Tensor:
    """x (B, C, D, *) resampled linearly along all axes but the first spatial one: (B * C, D, voxels of a plane)."""
    for axis in range(len(size) - 1, 2, -1):
        shape = list(x.shape)
        shape[axis] = size[axis]
        matrix = resize_matrix(x, axis, size[axis], align_corners)
        x = torch.matmul(x, matrix.t()) if axis == len(size) - 1 else torch.matmul(matrix, x)
        x = x.reshape(shape)
    return x.flatten(3).flatten(0, 1)


def resize_matrix(x: Tensor, axis: int, size: int, align_corners: bool) -> Tensor:
    """The matrix (size, n) that resamples one axis of x, of length n, linearly."""
    eye = torch.eye(x.shape[axis], device=x.device).unsqueeze(0)
    return F.interpolate(eye, size=[size], mode="linear", align_corners=align_corners)[0].t().to(x.dtype)


def to_classes(x: Tensor, weight: Tensor) -> Tensor:
    """1x1x1 convolution of (B, C, *spatial) to few channels, which come in plain (not channels-last) memory."""
    if plain_wanted():
        return conv_same(x, weight, None)
    size = list(x.shape)
    size[1] = weight.shape[0]
    if size[0] == 1 and not torch.is_grad_enabled():
        # in bfloat16 an eighth of the time, with the same numbers
        return torch.mm(weight.flatten(1), x[0].flatten(1)).reshape(size)
    if not torch.jit.is_scripting():
        if torch.is_grad_enabled():
            return _ToClasses.apply(x, weight.flatten(1))
    return torch.bmm(weight.flatten(1).expand([size[0], -1, -1]), x.flatten(2)).reshape(size)


class _ToClasses(torch.autograd.Function):
    """`to_classes` whose gradient comes in the channels-last memory of x: in plain memory, the layers before it take ten times as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        dtype = feature_type(x)
        kept, factors = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(kept, factors)
        ctx.dtypes = x.dtype, weight.dtype
        size = [len(x), len(weight), *x.shape[2:]]
        return torch.bmm(factors.expand(len(x), -1, -1), kept.flatten(2)).reshape(size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, factors = ctx.saved_tensors
        grad = grad.flatten(2)
        of_x = torch.bmm(grad.transpose(1, 2), factors.expand(len(x), -1, -1))
        # bmm, since the gradient of a plain product's weights takes ten times as long here in bfloat16
        of_weight = torch.bmm(grad, x.flatten(2).transpose(1, 2)).sum(0)
        return of_x.reshape(len(x), *x.shape[2:], -1).movedim(-1, 1).to(ctx.dtypes[0]), of_weight.to(ctx.dtypes[1])
