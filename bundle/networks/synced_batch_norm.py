"""Batch norms over the batches of all processes of a training, on GPUs and on CPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def synced(network: nn.Module, device: torch.device | str) -> nn.Module:
    """A network whose batch norms take mean and variance over the batches of all processes, as one process with all of them would.

    With PyTorch's wrapper alone each process normalises by its own one or two patches. On GPUs these are PyTorch's own
    `SyncBatchNorm`, which has nothing for CPUs; there `SyncedBatchNorm`. Names and values of the weights stay.

    Args:
        network: changed in place.
        device: where it will train.
    """
    if torch.device(device).type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and not isinstance(child, SyncedBatchNorm):
                setattr(parent, name, SyncedBatchNorm.of(child))
    return network


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm for (B, C, *spatial) whose statistics are of the batches of all processes; alone or in `eval` a usual one."""

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> SyncedBatchNorm:
        """The same batch norm, with the same parameters and buffers."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters, made._buffers = norm._parameters, norm._buffers
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"a batch norm takes (B, C, *spatial), not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """The normalised values, in the input's number format."""
        import torch.distributed as dist

        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        # of MONAI's MetaTensor no piece may be taken without its metadata
        values = input.as_subclass(Tensor).float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = _OverAll.apply(torch.cat([values.sum(axes), count]))
        mean, number = sums[:-1] / sums[-1], sums[-1].detach()
        # centred before it is squared: the difference of two large numbers would lose what matters
        centred = values - mean.view(shape)
        variance = _OverAll.apply(centred.square().sum(axes)) / number
        self._remember(mean.detach(), variance.detach() * number / (number - 1))
        scale = torch.rsqrt(variance + self.eps)
        if not self.affine:
            return (centred * scale.view(shape)).to(input.dtype)
        return torch.addcmul(self.bias.view(shape), centred, (scale * self.weight).view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _OverAll(torch.autograd.Function):
    """The sum over all processes; a gradient is summed in the same way on its way back."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        total = sums.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
