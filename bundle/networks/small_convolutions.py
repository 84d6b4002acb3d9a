"""Small convolutions kept out of bfloat16 on a CPU, where the library's gradients of them are wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
CONVOLUTIONS: dict[Callable, tuple[str, ...]] = dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), ARGUMENTS)
CONVOLUTIONS |= dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), TRANSPOSED_ARGUMENTS)
_thread = threading.local()


class SmallConvolutionsInFloat32(TorchFunctionMode):
    """Within this context, a convolution whose kernel is longer than the volume on some axis is computed in float32.

    oneDNN's weight gradients of these in bfloat16, on CPUs with AVX512 and without AMX (seen with torch 2.13: AMD Zen 4 and 5, and
    Intel under `ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16`), read and write memory that is not theirs: other values with each call, many
    not finite, some end the process. 3x3x3 over 2 voxels is among them, as in the deepest level of a patch of 32. Larger volumes
    were never wrong (docs/network.md), and small ones cost nothing in float32.
    """

    def __enter__(self) -> SmallConvolutionsInFloat32:
        """Begin; contexts may be nested."""
        _thread.depth = getattr(_thread, "depth", 0) + 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """End."""
        super().__exit__(*error)
        _thread.depth -= 1

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call `func`; a small convolution with autocast off and float32 tensors, its result in the format that autocast gives."""
        kwargs = kwargs or {}
        names = CONVOLUTIONS.get(func)
        if names is None:
            return func(*args, **kwargs)
        given = dict(zip(names, args, strict=False)) | kwargs
        if given["input"].device.type != "cpu" or not small(given["input"], given["weight"], given.get("dilation", 1)):
            return func(*args, **kwargs)
        wanted = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else given["input"].dtype
        with torch.autocast("cpu", enabled=False):
            out = func(**{name: value.float() if isinstance(value, Tensor) else value for name, value in given.items()})
        return out.to(wanted)


def as_now() -> AbstractContextManager:
    """A context in which convolutions are computed as they are at this moment, for what is computed again later."""
    return SmallConvolutionsInFloat32() if getattr(_thread, "depth", 0) else nullcontext()


def small(x: Tensor, weight: Tensor, dilation: int | tuple[int, ...] = 1) -> bool:
    """Whether the kernel (out, in, *kernel) is longer than x (B, in, *spatial) on some axis; a kernel of one voxel never is."""
    kernel = weight.shape[2:]
    steps = [dilation] * len(kernel) if isinstance(dilation, int) else list(dilation)
    steps = steps * len(kernel) if len(steps) == 1 else steps
    return any(size < (k - 1) * step + 1 for size, k, step in zip(x.shape[-len(kernel) :], kernel, steps, strict=True))
