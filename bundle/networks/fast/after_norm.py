"""Batch norm, ReLU and what follows them, in training a slab at a time: of the features only those before the norm are kept.

PyTorch keeps the features before a norm and those after its ReLU, and needs both with two gradients of their size at once. Here
what the convolution after the ReLU reads is made for a slab, once in the forward pass and once more for the gradients, and the
gradient goes back through ReLU and norm in place. The numbers are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bundle.kept_memory import give_back
from bundle.networks.fast.slabs import SLAB_BYTES
from bundle.networks.fast.switch import plain_wanted

# of the features before a norm; larger ones take more memory and more time
PIECE_BYTES = SLAB_BYTES // 4
# for one sample with at most so many rows (channels times the first two sizes) in float32, PyTorch leaves oneDNN for code of its own, in
# the backward pass ten times as slow
ONE_DNN_ROWS = 20480

# what follows the ReLU, of (1, C, n + 2 * halo, H, W) and its parameters: (1, channels, n, H, W)
Following = Callable[..., Tensor]


def is_for(norm: nn.Module, x: Tensor) -> bool:
    """Whether `after_norm` is for this norm of x (B, C, *spatial): a usual one that learns, on a CPU, of more than two slabs."""
    if x.device.type != "cpu" or x.dim() != 5 or not torch.is_grad_enabled() or plain_wanted():
        return False
    usual = type(norm) is nn.BatchNorm3d and norm.training and norm.affine and norm.track_running_stats
    return usual and x.dtype in (torch.float32, torch.bfloat16) and x.numel() * x.element_size() > 2 * SLAB_BYTES


def after_norm(
    x: Tensor,
    norm: nn.Module,
    then: Following | None = None,
    parameters: Sequence[Tensor] = (),
    halo: int = 0,
    layout: torch.memory_format | None = None,
) -> Tensor:
    """`then(relu(norm(x)), *parameters)`, where `norm` learns its running statistics as usual.

    Args:
        x: (B, C, D, H, W).
        norm: in training, with parameters and running statistics.
        then: what follows; None: nothing.
        parameters: of `then`, which get gradients.
        halo: how many planes on both sides `then` needs; beyond the volume they are zero.
        layout: memory layout of the result; None: that of x.

    Returns:
        (B, channels, D, H, W), which can be differentiated once.
    """
    assert isinstance(norm, nn.BatchNorm3d)
    # of MONAI's MetaTensor no piece may be taken without its metadata
    return _AfterNorm.apply(x.as_subclass(Tensor), norm.weight, norm.bias, norm, then, halo, layout, *parameters)


class _AfterNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm3d,
        then: Following | None,
        halo: int,
        layout: torch.memory_format | None,
        *parameters: Tensor,
    ) -> Tensor:
        normalise = _Normalise(weight, bias, *_learnt(norm, x), norm.eps)
        ctx.save_for_backward(x, weight, bias, normalise.mean, normalise.variance, *parameters)
        ctx.eps, ctx.then, ctx.halo = norm.eps, then, halo
        ctx.formats = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        if layout is None:
            last = x.is_contiguous(memory_format=torch.channels_last_3d)
            layout = torch.channels_last_3d if last else torch.contiguous_format
        out: Tensor | None = None
        for slab in _slabs(x, halo):
            values = slab.padded(torch.relu_(normalise(slab.with_halo(x))))
            values = values if then is None else then(values, *parameters)
            if out is None:
                out = torch.empty((len(x), values.shape[1], *x.shape[2:]), dtype=values.dtype, memory_format=layout)
            slab.of(out).copy_(values)
        assert out is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # the peak of a step is here: without the gaps that slabs have left
        give_back()
        x, weight, bias, mean, variance, *parameters = ctx.saved_tensors
        normalise, found = _Normalise(weight, bias, mean, variance, ctx.eps), torch.empty_like(x)
        of_parameters: list[Tensor] = []
        if ctx.then is not None:
            of_parameters = _of_following(ctx, normalise, x, gradient, parameters, found)
            gradient = found
        # through the ReLU in place, with the sums that the gradients of the norm are made of
        of_weight, of_bias = torch.zeros_like(mean), torch.zeros_like(mean)
        for slab in _slabs(x):
            values, passed = slab.of(x), slab.of(found)
            torch.ops.aten.threshold_backward.grad_input(slab.of(gradient), normalise(values), 0, grad_input=passed)
            _, *sums = torch.ops.aten.native_batch_norm_backward(
                passed, values, weight, mean, variance, None, None, False, ctx.eps, [False, True, True]
            )
            of_weight += sums[0]
            of_bias += sums[1]
        # through the norm in place: scale * (gradient - its mean - normalised * mean of gradient * normalised)
        count, deviation = x.numel() / x.shape[1], torch.rsqrt(variance + ctx.eps)
        scale = weight * deviation
        slope = -scale * deviation * of_weight / count
        offset = -scale * of_bias / count - slope * mean
        scale, slope, offset = (one.view(1, -1, 1, 1, 1) for one in (scale, slope, offset))
        for slab in _slabs(x):
            passed = slab.of(found)
            # converted, since PyTorch takes six times as long to mix bfloat16 with float32
            linear = torch.addcmul(offset, slab.of(x).to(scale.dtype), slope)
            passed.copy_(linear.addcmul_(passed.to(scale.dtype), scale))
        return found, of_weight, of_bias, None, None, None, None, *of_parameters


def _of_following(ctx: Any, normalise: _Normalise, x: Tensor, gradient: Tensor, parameters: list[Tensor], found: Tensor) -> list[Tensor]:
    """The gradients of what follows: those of the features after the ReLU go to `found`, those of its parameters come back."""
    enabled, dtype = ctx.formats
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    for slab in _slabs(x, ctx.halo):
        values = slab.padded(torch.relu_(normalise(slab.with_halo(x)))).requires_grad_()
        own = [parameter.detach().requires_grad_() for parameter in parameters]
        with torch.enable_grad(), torch.autocast("cpu", dtype, enabled=enabled):
            result = ctx.then(values, *own)
        of_values, *others = torch.autograd.grad(result, [values, *own], slab.of(gradient))
        slab.add_to(found, of_values)
        for total, part in zip(totals, others, strict=True):
            total += part
    return totals


def _learnt(norm: nn.BatchNorm3d, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, which the running statistics of the norm follow."""
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    return torch.batch_norm_update_stats(x, norm.running_mean, norm.running_var, share)


class _Normalise(NamedTuple):
    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias, training=False, eps=self.eps)


class _Slab(NamedTuple):
    """Planes start to stop of one sample, of `depth` that there are; `halo` more on both sides are needed to make them."""

    sample: int
    start: int
    stop: int
    halo: int
    depth: int

    def of(self, x: Tensor) -> Tensor:
        """The planes of x (B, C, D, H, W)."""
        return x[self.sample : self.sample + 1, :, self.start : self.stop]

    def with_halo(self, x: Tensor) -> Tensor:
        """The planes and the halo, as much of it as there is."""
        return x[self.sample : self.sample + 1, :, max(self.start - self.halo, 0) : self.stop + self.halo]

    def padded(self, planes: Tensor) -> Tensor:
        """Zeros for the halo that there is not."""
        before, after = max(self.halo - self.start, 0), max(self.stop + self.halo - self.depth, 0)
        return F.pad(planes, [0, 0, 0, 0, before, after]) if before or after else planes

    def add_to(self, total: Tensor, planes: Tensor) -> None:
        """Add planes as those that `padded` gives to `total`, whose planes from stop - halo on the slabs before have not written."""
        planes = planes[:, :, max(self.halo - self.start, 0) :][:, :, : self.depth - max(self.start - self.halo, 0)]
        there = self.with_halo(total)
        written = min(2 * self.halo, there.shape[2]) if self.start else 0
        there[:, :, :written] += planes[:, :, :written]
        there[:, :, written:] = planes[:, :, written:]


def _slabs(x: Tensor, halo: int = 0) -> Iterator[_Slab]:
    """One slab after the other, each of one sample, whose planes are contiguous memory; no sample has one much smaller than the others."""
    depth, row = x.shape[2], x.shape[1] * x.shape[3]
    planes = max(PIECE_BYTES // (row * x.shape[4] * x.element_size()), ONE_DNN_ROWS // row + 1)
    count = max(1, depth // planes)
    for sample in range(len(x)):
        for i in range(count):
            yield _Slab(sample, i * depth // count, (i + 1) * depth // count, halo, depth)
