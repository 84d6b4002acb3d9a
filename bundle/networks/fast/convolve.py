"""Convolutions by the fastest way there is."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bundle.networks.fast.switch import plain_wanted


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: int = 1, relu: bool = False) -> Tensor:
    """2-D or 3-D convolution with zero padding, and the ReLU after it where that is asked for: oneDNN does both in one pass.

    For one sample of few voxels in float32 (channels times the first two sizes at most 20480), PyTorch leaves oneDNN for code
    of its own, in 3-D measured as 2 to 16 times slower, and its result is not channels-last; here such a sample stays.
    """
    if not torch.jit.is_scripting():
        if x.dim() == 5 and not plain_wanted() and _one_dnn_takes(x):
            if relu and feature_type(x) in _fused_types() and not torch.is_grad_enabled():
                return _with_relu(x, weight, bias, padding, stride)
            if feature_type(x) == x.dtype == torch.float32:
                out = torch.mkldnn_convolution(x, weight, bias, padding, [stride] * 3, [1, 1, 1], 1)
                return torch.relu_(out) if relu else out
    if x.dim() == 4:
        out = F.conv2d(x, weight, bias, padding=padding, stride=stride)
    else:
        out = F.conv3d(x, weight, bias, padding=padding, stride=stride)
    return torch.relu_(out) if relu else out


def conv_same(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """Convolution with an odd kernel, zero padding and the weights given, and a ReLU where that is asked for; the size stays.

    On a CPU, a 1x1x1 convolution is done as a matrix product: for few voxels or one thread, PyTorch's convolution leaves the
    fast library, and its gradients come in another memory order than the features, which costs more than the product.
    """
    padding = weight.shape[-1] // 2
    if padding == 0 and not x.is_cuda and not plain_wanted():
        out = F.linear(x.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
        return torch.relu_(out) if relu else out
    return convolve(x, weight, bias, [padding] * (x.dim() - 2), relu=relu)


def channels_last(network: nn.Module, spatial_dims: int = 3) -> None:
    """Lay out the weights of 2-D or 3-D convolutions in place so that the channel varies fastest: what oneDNN and cuDNN take."""
    layout = torch.channels_last_3d if spatial_dims == 3 else torch.channels_last
    network.to(memory_format=layout)  # type: ignore[call-overload]  # PyTorch's annotations leave out this keyword


def feature_type(x: Tensor) -> torch.dtype:
    """The number format in which a convolution of x is computed: autocast's, where that is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _one_dnn_takes(x: Tensor) -> bool:
    """Whether x is what oneDNN convolves here: on a CPU, and not switched off."""
    return torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled) and x.device.type == "cpu"


@cache
def _fused_types() -> tuple[torch.dtype, ...]:
    """The number formats in which oneDNN does convolution and ReLU in one here; none where PyTorch has no such function.

    They are what PyTorch's compiler takes, without a public name.
    """
    library = torch.ops.mkldnn
    if not hasattr(library, "_convolution_pointwise"):
        return ()
    takes_half = hasattr(library, "_is_mkldnn_bf16_supported") and library._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if takes_half else (torch.float32,)


def _with_relu(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: int) -> Tensor:
    """Convolution and ReLU by oneDNN."""
    # autocast does not know this function: the types are made the same here
    dtype = feature_type(x)
    bias = None if bias is None else bias.to(dtype)
    ones = [1, 1, 1]
    return torch.ops.mkldnn._convolution_pointwise(x.to(dtype), weight.to(dtype), bias, padding, [stride] * 3, ones, 1, "relu", [], "")
