"""Whether a CPU has bfloat16, and whether gradients computed in it are right; see `bundle.networks.small_convolutions`."""

from __future__ import annotations

import os
from functools import lru_cache

import torch
import torch.nn.functional as F

# bfloat16 keeps 8 bits: rounding changes a value by 2**-9 of it at most, and a sum of products of two rounded values, which then
# is rounded itself, by 3 of these; 2**-5, ten times as much, is not rounding
NO_ROUNDING = 2.0**-5
# channels, size, kernel, stride: from the smallest volume that is computed in bfloat16 on
PROBES = ((16, (3, 3, 3), 3, 1), (16, (4, 8, 8), 3, 1), (32, (6, 5, 4), 3, 2), (16, (7, 8, 9), 5, 1))
# names of `ONEDNN_MAX_CPU_ISA` with which oneDNN computes bfloat16 by other instructions
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


@lru_cache
def cpu_gradients_are_right() -> bool:
    """Whether this CPU's bfloat16 weight gradients are those of float32 but for rounding: tried on a few small volumes, once."""
    generator = torch.Generator().manual_seed(0)
    return all(_right(generator, *probe) for probe in PROBES)


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices natively (AMX or AVX512-BF16); emulated, it would be slower than float32.

    The environment may narrow what oneDNN uses (`ONEDNN_MAX_CPU_ISA`), which PyTorch's own answer leaves out.
    """
    if os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper() in WITHOUT_BF16:
        return False
    # private names of torch, hence looked up with care: an older or newer torch without them means no
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in probes if hasattr(torch.cpu, name))


@torch.enable_grad()
def _right(generator: torch.Generator, channels: int, size: tuple[int, ...], kernel: int, stride: int) -> bool:
    """Whether the weight gradient of one convolution is the same twice in bfloat16, and that of float32 but for rounding."""
    x = torch.randn(2, channels, *size, generator=generator).bfloat16().contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(channels, channels, kernel, kernel, kernel, generator=generator).bfloat16()
    gradients = []
    for dtype in (torch.float32, torch.bfloat16, torch.bfloat16):
        leaf = weight.to(dtype, copy=True).requires_grad_()
        out = F.conv3d(x.to(dtype), leaf, stride=stride, padding=kernel // 2)
        # signs: sums of many terms, without rounding of their own
        signs = torch.where(torch.arange(out.numel()) % 3 == 0, -1.0, 1.0).reshape(out.shape).to(dtype)
        gradients.append(torch.autograd.grad(out, leaf, signs)[0].float())
    exact, first, again = gradients
    return torch.equal(first, again) and bool((first - exact).abs().max() <= NO_ROUNDING * exact.abs().max())
