"""What the network is built of: convolutions with batch norm, resizing, and bringing a volume to a size that halves evenly."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.networks.checkpointing import Block, Checkpointable, checkpointed
from bundle.networks.fast.after_norm import after_norm, is_for
from bundle.networks.fast.convolve import conv_same, convolve, feature_type
from bundle.networks.fast.slabs import by_slabs, conv_planes, convolved, gathered, plane_ranges, slab_planes
from bundle.networks.fast.switch import plain_wanted
from bundle.networks.fast.upsampling import PlanesOfUpsampled, conv_of_upsampled


def convolution(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, bias: bool = True
) -> nn.Conv2d | nn.Conv3d:
    """A 2-D or 3-D convolution that keeps the size of odd kernels' inputs."""
    kind = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    padding = kernel_size // 2 if kernel_size % 2 else 0
    return kind(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=bias)


def batch_norm(spatial_dims: int, channels: int) -> nn.BatchNorm2d | nn.BatchNorm3d:
    """A 2-D or 3-D batch norm."""
    return nn.BatchNorm2d(channels) if spatial_dims == 2 else nn.BatchNorm3d(channels)


def dropout_layer(probability: float) -> nn.Module:
    """Dropout of single values; nothing at all for 0, which would still cost a pass over the tensor while training."""
    return nn.Dropout(probability) if probability > 0 else nn.Identity()


def not_none(bias: Tensor | None) -> Tensor:
    """The bias of a convolution that has one: by its annotation every bias is optional, to TorchScript as well."""
    assert bias is not None
    return bias


def halve(x: Tensor) -> Tensor:
    """Maximum over each 2x2[x2] voxels: (B, C, *spatial) to (B, C, *spatial // 2)."""
    if plain_wanted():
        return F.max_pool2d(x, 2) if x.dim() == 4 else F.max_pool3d(x, 2)
    # asking for the indices keeps autocast from turning bfloat16 features to float32
    return F.max_pool2d_with_indices(x, [2, 2])[0] if x.dim() == 4 else F.max_pool3d_with_indices(x, [2, 2, 2])[0]


def resize(x: Tensor, size: list[int], align_corners: bool) -> Tensor:
    """Bi- or trilinear resampling of (B, C, *spatial) to the spatial `size`; x itself where it has that size already."""
    if list(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear" if x.dim() == 4 else "trilinear", align_corners=align_corners)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last voxels of each axis until every spatial size is a multiple; x itself where it already is."""
    padding: list[int] = []
    for axis in range(x.dim() - 1, 1, -1):
        padding += [0, (multiple - x.shape[axis] % multiple) % multiple]
    if not torch.jit.is_scripting():
        if torch.onnx.is_in_onnx_export():  # a file for any size holds the padding, whatever the size of its example
            return F.pad(x, padding, mode="replicate")
    if sum(padding) == 0:
        return x
    return F.pad(x, padding, mode="replicate")


def crop(x: Tensor, size: list[int]) -> Tensor:
    """The first `size` voxels of each spatial axis, the counterpart of `pad_to_multiple`."""
    if not torch.jit.is_scripting():
        if torch.onnx.is_in_onnx_export():
            for axis in range(len(size)):
                x = x.narrow(axis + 2, 0, size[axis])
            return x
    for axis in range(len(size)):
        if x.shape[axis + 2] != size[axis]:
            x = x.narrow(axis + 2, 0, size[axis])
    return x


class ConvNormAct(Checkpointable):
    """Convolution, batch norm, ReLU, dropout, in this order as in the authors' code (MONAI's blocks norm before or after both).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd size of the kernel.
        dropout: probability of dropping a value.
    """

    __constants__ = ("relu",)
    relu = True

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = convolution(spatial_dims, in_channels, out_channels, kernel_size)
        self.norm: nn.Module = batch_norm(spatial_dims, out_channels)
        self.dropout = dropout_layer(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        if not torch.jit.is_scripting():
            if self.relu_follows():
                return self.dropout(conv_same(x, self.conv.weight, self.conv.bias, relu=True))
        return self.finish(conv_same(x, self.conv.weight, self.conv.bias))

    def of_slab(self, x: Tensor) -> Tensor:
        """(B, in_channels, depth + 2, H, W) to (B, out_channels, depth, H, W): no padding along the first spatial axis."""
        if self.relu_follows():
            return self.dropout(convolve(x, self.conv.weight, self.conv.bias, [0, 1, 1], relu=True))
        return self.finish(convolve(x, self.conv.weight, self.conv.bias, [0, 1, 1]))

    @torch.jit.unused
    def relu_follows(self) -> bool:
        """Whether there is a ReLU, and nothing between it and the convolution, as when the batch norm is folded."""
        return self.relu and isinstance(self.norm, nn.Identity)

    @torch.jit.unused
    def dropping(self) -> bool:
        """Whether there is dropout."""
        return not isinstance(self.dropout, nn.Identity)

    @torch.jit.unused
    def by_slabs(self, x: Tensor) -> bool:
        """Whether norm and ReLU of what the convolution has given are made a slab at a time, for the sake of memory."""
        return self.saves_memory() and self.relu and is_for(self.norm, x)

    def finish(self, x: Tensor) -> Tensor:
        """What follows the convolution."""
        if not torch.jit.is_scripting():
            if self.by_slabs(x):
                return self.dropout(after_norm(x, self.norm))
        x = self.norm(x)
        return self.dropout(torch.relu_(x) if self.relu else x)


def before_second_norm(first: ConvNormAct, second: ConvNormAct, x: Tensor) -> Tensor:
    """What the convolution of the second of two blocks in a row gives, 3x3x3, from what that of the first has given."""
    if first.by_slabs(x) and not first.dropping():
        return after_norm(x, first.norm, _within_planes, [second.conv.weight, not_none(second.conv.bias)], halo=1)
    return conv_same(first.finish(x), second.conv.weight, second.conv.bias)


def _within_planes(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return convolve(x, weight, bias, [0, 1, 1])


class TwoConvs(Block, nn.Sequential):
    """The two convolutions of each level of the U-Net, 3x3x3 with batch norm and ReLU; a slab at a time where that is faster."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, dropout: float = 0.0) -> None:
        super().__init__(
            ConvNormAct(spatial_dims, in_channels, out_channels, dropout=dropout),
            ConvNormAct(spatial_dims, out_channels, out_channels, dropout=dropout),
        )

    def norms_before_relu(self) -> list[nn.Module]:
        return [_both(self)[1].norm]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, *spatial) to (B, out_channels, *spatial)."""
        if not torch.jit.is_scripting():
            if self.saves_memory():
                return checkpointed(self, x)
            first, second = _both(self)
            planes = slab_planes(x, first.conv.weight.shape[0])
            if planes and not first.norm.training:
                return self._by_slabs(x, planes)
            if first.saves_memory():
                return second.finish(before_second_norm(first, second, conv_same(x, first.conv.weight, first.conv.bias)))
        return self[1](self[0](x))

    @torch.jit.unused
    def _by_slabs(self, x: Tensor, planes: int) -> Tensor:
        return gathered(self.slabs(x, planes), x.shape[2])

    @torch.jit.unused
    def slabs(self, x: Tensor, planes: int, ahead: int = 0) -> Iterator[Tensor]:
        """The output a slab at a time, as `convolved` gives it for slabs of so many planes, the first of them with `ahead` more."""
        first, second = _both(self)
        weight, bias = first.conv.weight.to(feature_type(x)), first.conv.bias

        def of_first() -> Iterator[Tensor]:
            for start, stop in plane_ranges(x.shape[2], planes, ahead):
                if first.relu_follows():
                    yield first.dropout(conv_planes(x, start, stop, weight, bias, relu=True))
                else:
                    yield first.finish(conv_planes(x, start, stop, weight, bias))

        return convolved(of_first(), second.of_slab, x.shape[2])


def _both(block: TwoConvs) -> tuple[ConvNormAct, ConvNormAct]:
    first, second = block
    assert isinstance(first, ConvNormAct) and isinstance(second, ConvNormAct)
    return first, second


class UpBlock(Block):
    """A level of the decoder: the coarser features are resized to the skip's grid, appended to it, and convolved twice.

    Where that is faster, the first convolution is split: that of the skip, and that of the up-sampled features
    (`conv_of_upsampled`), which then need neither be up-sampled nor copied together. The sum is the same function.

    Args:
        spatial_dims: 2 or 3.
        skip_channels: channels of the skip, and of the output.
        coarse_channels: channels of the coarser level's features.
        extra_channels: channels of the skip beyond those of the output.
        align_corners: how corners are treated when resizing.
        dropout: probability of dropping a value.
    """

    def __init__(
        self,
        spatial_dims: int,
        skip_channels: int,
        coarse_channels: int,
        *,
        extra_channels: int = 0,
        align_corners: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.first = ConvNormAct(spatial_dims, skip_channels + extra_channels + coarse_channels, skip_channels, dropout=dropout)
        self.second = ConvNormAct(spatial_dims, skip_channels, skip_channels, dropout=dropout)

    def norms_before_relu(self) -> list[nn.Module]:
        return [self.second.norm]

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """(B, skip_channels + extra_channels, *spatial) and (B, coarse_channels, *smaller) to (B, skip_channels, *spatial).

        In evaluation without gradients, the result may take the place of the skip in memory.
        """
        if not torch.jit.is_scripting():
            if self.saves_memory():
                return checkpointed(self, skip, coarse)
            if self.first.saves_memory():
                return self.second.finish(before_second_norm(self.first, self.second, self.convolved(skip, coarse)))
        if not self.align_corners and splitting_pays(skip, coarse):
            if not torch.jit.is_scripting():
                planes = slab_planes(skip, self.first.conv.weight.shape[0])
                if planes and not self.first.norm.training:
                    return self._by_slabs(skip, coarse, planes)
            return self.second(self.first.finish(self._in_two(skip, coarse)))
        return self.second(self.first(self._together(skip, coarse)))

    @torch.jit.unused
    def convolved(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """What the first convolution makes of both."""
        if not self.align_corners and splitting_pays(skip, coarse):
            return self._in_two(skip, coarse)
        return conv_same(self._together(skip, coarse), self.first.conv.weight, self.first.conv.bias)

    def _in_two(self, skip: Tensor, coarse: Tensor) -> Tensor:
        of_skip, of_coarse = self.first.conv.weight.split([skip.shape[1], coarse.shape[1]], dim=1)
        return conv_same(skip, of_skip, self.first.conv.bias).add_(conv_of_upsampled(coarse, of_coarse))

    def _together(self, skip: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([skip, resize(coarse, list(skip.shape[2:]), self.align_corners)], dim=1)

    @torch.jit.unused
    def _by_slabs(self, skip: Tensor, coarse: Tensor, planes: int) -> Tensor:
        dtype = feature_type(skip)
        of_skip, of_coarse = self.first.conv.weight.split([skip.shape[1], coarse.shape[1]], dim=1)
        of_skip, upsampled = of_skip.to(dtype), PlanesOfUpsampled(coarse, of_coarse.to(dtype))

        def first(start: int, stop: int) -> Tensor:
            return self.first.finish(upsampled.add_to(conv_planes(skip, start, stop, of_skip, self.first.conv.bias), start, stop))

        in_place = skip.shape[1] == self.second.conv.weight.shape[0] and skip.dtype == dtype
        return by_slabs(first, self.second.of_slab, skip.shape[2], planes, skip if in_place else None)


def splitting_pays(skip: Tensor, coarse: Tensor) -> bool:
    """Whether `conv_of_upsampled` applies, and saves more than the making of its kernels costs (measured on CPU)."""
    if plain_wanted():
        return False
    voxels = 1
    for axis in range(2, skip.dim()):
        if skip.shape[axis] != 2 * coarse.shape[axis]:
            return False
        voxels *= coarse.shape[axis]
    return voxels >= 128 * coarse.shape[1]
