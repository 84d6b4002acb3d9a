"""One pass over the whole volume where it fits into memory, overlapping windows otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from math import prod
from typing import Any

import torch
from monai.inferers import Inferer, sliding_window_inference
from torch.nn import functional as F

from bundle.arguments.mistakes import out_of_memory
from bundle.errors import UserError
from bundle.inferers.memory import choose_window, free_bytes, least_window, require
from bundle.inferers.precision import choose_precision
from bundle.kept_memory import give_back
from bundle.networks.attention_unet import bytes_of_classes
from bundle.networks.fast.convolve import channels_last
from bundle.networks.sizes import classes_of, fitted, halves, sides, window_of

# bytes per voxel of the volume that windows take while they are blended: 4 for each class, and these for the weights and what comes after
BLENDING = 12.0
# peak memory of one pass for each voxel of its input, in float32: of `AttentionUnet` on a CPU, where large volumes go through it a
# slab at a time, and on a GPU; and what is taken for networks that say nothing (attribute `bytes_per_voxel`), as MONAI's
OURS, OURS_ON_GPU, OTHERS = 60.0, 300.0, 1000.0
# the same for each voxel of a window on a CPU, which is too small for slabs, of four classes
OURS_IN_WINDOWS = 120.0


class VolumeInferer(Inferer):
    """Logits of a whole volume: in one pass where it fits into the memory budget, in overlapping windows otherwise.

    MONAI's `SlidingWindowInferer` always cuts windows, whose overlaps multiply the work (2.4 times at 0.25 in 3-D), and its
    window is fixed, whatever memory there is. This one decides from the budget, takes the window that costs least work, lays
    tensors out channels-last (about 6 times faster convolutions on CPUs), and computes in bfloat16 where the hardware does.
    Volumes of few slices are padded on both sides (`bundle.networks.sizes.sides`), and every volume for networks that take multiples of
    some number only; a network that takes one size (attribute `window`) always gets windows of this size. Keeps no state between calls.
    A network in training mode keeps its dropout (samples for uncertainty), but its batch norms are put into evaluation mode.

    Args:
        roi_size: what a window holds at least where the volume does not fit; less, down to 96 voxels along an axis, only where the budget
            has no room for it.
        overlap: share of a window that it has in common with its neighbour.
        memory_gb: memory in GB (10^9 bytes) that the whole process may take on the CPU, or the network on a GPU; None takes
            half of what the machine has free at the time of the call.
        precision: "auto", "fp32", "bf16" or "fp16" (see `choose_precision`).
        bytes_per_voxel: peak memory of one pass for each voxel of its input, in float32; None: the network's attribute of this name, or
            1000 for other networks than this bundle's.
        gpu_bytes_per_voxel: the same on a GPU.
        flips: average over the mirror images along the first spatial axis as well (twice the time).
        whole: run a volume that fits in one pass; False always cuts windows of `roi_size`, for exports with one input size.
        prepare: makes a faster copy of a network with batch norms that is in evaluation mode, such as
            `bundle.networks.fold_batch_norm`; for those who hand over the network as it was trained, as MONAI Label does.

    Raises:
        UserError: overlap outside [0, 1), or an unknown precision. When called: `memory_gb` has no room for windows in which the network
            sees enough, or its output is not finite.
    """

    # the network pools four times by 2, so that 16 is the least size with a voxel left at the bottom
    MIN_SIZE = 16

    def __init__(
        self,
        roi_size: Sequence[int] = (160, 160, 96),
        overlap: float = 0.25,
        *,
        memory_gb: float | None = None,
        precision: str = "auto",
        bytes_per_voxel: float | None = None,
        gpu_bytes_per_voxel: float | None = None,
        flips: bool = False,
        whole: bool = True,
        prepare: Callable[[torch.nn.Module], torch.nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= overlap < 1:
            raise UserError("overlap", f"{overlap} is not a share of a window", "use a number from 0 below 1")
        choose_precision(precision, "cuda" if precision == "fp16" else "cpu")
        self.roi_size, self.overlap, self.memory_gb, self.precision = tuple(roi_size), overlap, memory_gb, precision
        self.bytes_per_voxel, self.gpu_bytes_per_voxel = bytes_per_voxel, gpu_bytes_per_voxel
        self.flips, self.whole = flips, whole
        self.prepare = prepare

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return float32 logits (B, K, X, Y, Z) of `inputs` (B, C, X, Y, Z), on the same device.

        Args:
            inputs: preprocessed volumes.
            network: called as `network(inputs, *args, **kwargs)`; a module is laid out channels-last in place.
        """
        norms = batch_norms(network)
        if isinstance(network, torch.nn.Module) and norms and network.training:
            # samples with dropout, say: one scan is not a batch, so its norms keep what they learnt
            for norm in norms:
                norm.eval()
        elif isinstance(network, torch.nn.Module) and norms and self.prepare is not None:
            network = self.prepare(network)
        if isinstance(network, torch.nn.Module) and inputs.ndim == 5:
            channels_last(network)
        image = inputs.as_tensor() if hasattr(inputs, "as_tensor") else inputs
        # not `inference_mode`, whose tensors may not be written to by others: a copy of the logits is a tenth of what a pass takes
        with torch.no_grad():
            logits = self._padded(image, network, *args, **kwargs)
            if self.flips:
                mirrored = self._padded(image.flip(2), network, *args, **kwargs)
                logits = logits.add_(mirrored.flip(2)).div_(2)
        _refuse_not_finite(logits)
        if not image.is_cuda:
            give_back()
        return logits

    def _padded(self, image: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of a volume of any size: of one that is short along an axis the outermost voxels are repeated on both sides of it."""
        added = sides(network, image.shape[2:], self.MIN_SIZE)
        if not any(map(any, added)):
            return self._whole_or_windows(image, network, *args, **kwargs)
        pads = [side for pair in reversed(added) for side in pair]
        logits = self._whole_or_windows(F.pad(image, pads, mode="replicate"), network, *args, **kwargs)
        inner = [slice(before, before + n) for (before, _), n in zip(added, image.shape[2:], strict=True)]
        return logits[(slice(None), slice(None), *inner)]

    def _whole_or_windows(self, image: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of a volume of at least the least size; where memory gives out in spite of the budget, with less at once."""
        dtype = choose_precision(self.precision, image.device)
        per_voxel = self._bytes(network, image.is_cuda)
        share, window = 1.0, window_of(network) or self._window(image, dtype, per_voxel, network)
        while True:
            try:
                return self._run(image, window, dtype, network, *args, **kwargs)
            except RuntimeError as error:  # torch.OutOfMemoryError on GPUs, a plain one on CPUs
                smaller = window_of(network) or self._window(image, dtype, per_voxel, network, share / 2)
                if not out_of_memory(error) or (smaller == window and share < 0.1):
                    raise
            # outside the block above, so that the error no longer holds what was computed so far
            share, window = share / 2, smaller
            if image.device.type == "cuda":
                torch.cuda.empty_cache()

    def _run(
        self, image: torch.Tensor, window: Sequence[int], dtype: torch.dtype, network: Callable, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Logits with this window; one pass where it is the whole volume.

        What a window holds beyond the volume repeats the outermost voxels: better than air, and than MONAI's zeros, which are soft
        tissue here (docs/measurements/inference.md).
        """

        def predict(patch: torch.Tensor) -> torch.Tensor:
            patch = patch.contiguous(memory_format=torch.channels_last_3d) if patch.ndim == 5 else patch
            with torch.autocast(image.device.type, dtype=dtype) if dtype != torch.float32 else nullcontext():
                return fitted(network, patch, *args, **kwargs).float()

        if tuple(window) == tuple(image.shape[2:]):
            return predict(image)
        logits = sliding_window_inference(image, window, 1, predict, self.overlap, "gaussian", padding_mode="replicate")
        assert isinstance(logits, torch.Tensor)  # of a network with several outputs there would be several
        return logits

    def _bytes(self, network: Callable[..., torch.Tensor], on_gpu: bool) -> float:
        """Memory in bytes that one pass in float32 takes for each voxel."""
        given = self.gpu_bytes_per_voxel if on_gpu else self.bytes_per_voxel
        if given is not None:
            return given
        if halves(network) and not hasattr(network, "bytes_per_voxel"):
            return OTHERS
        return OURS_ON_GPU if on_gpu else getattr(network, "bytes_per_voxel", OURS)

    def least_bytes(self, image: torch.Tensor, network: Callable[..., torch.Tensor]) -> float:
        """Memory in bytes that a volume (B, C, X, Y, Z) takes at least on its device; 0 where the budget does not choose the window."""
        if not self.whole or window_of(network) is not None:
            return 0.0
        added = sides(network, image.shape[2:], self.MIN_SIZE)
        shape = [n + before + behind for n, (before, behind) in zip(image.shape[2:], added, strict=True)]
        dtype, per_voxel = choose_precision(self.precision, image.device), self._bytes(network, image.is_cuda)
        in_window = _in(dtype, self._bytes_in_windows(per_voxel, network, image.is_cuda))
        return image.shape[0] * self._least(shape, _in(dtype, per_voxel), in_window, _blending(network))[1]

    def _bytes_in_windows(self, float32: float, network: Callable[..., torch.Tensor], on_gpu: bool) -> float:
        """Memory in bytes for each voxel of a window, from that for each voxel of the volume in one pass."""
        in_windows = OURS_IN_WINDOWS + bytes_of_classes(classes_of(network))
        return float32 if on_gpu or self.bytes_per_voxel is not None else max(float32, in_windows)

    def _window(
        self, image: torch.Tensor, dtype: torch.dtype, float32: float, network: Callable[..., torch.Tensor], share: float = 1.0
    ) -> tuple[int, ...]:
        """How much of the image (B, C, X, Y, Z) the network sees at once, with a share of the memory that is free."""
        if not self.whole:
            return self.roi_size
        per_voxel, blending = _in(dtype, float32), _blending(network)
        in_window = _in(dtype, self._bytes_in_windows(float32, network, image.is_cuda))
        shape, room = image.shape[2:], share * free_bytes(self.memory_gb, image.device) / image.shape[0]
        if prod(shape) * per_voxel <= room:
            return tuple(shape)
        window = choose_window(shape, self.roi_size, int((room - blending * prod(shape)) / in_window), self.overlap)
        if window is not None:
            return window
        window, needed = self._least(shape, per_voxel, in_window, blending)
        # where memory gave out in spite of the budget (a share of it) the least is tried, and says itself that it does not fit
        if share == 1:
            what = f"a volume of {_by(shape)} voxels" + (f" in windows of {_by(window)}" if window != tuple(shape) else "")
            require(needed * image.shape[0], self.memory_gb, image.device, f"{what}, the least in which it sees enough")
        return window

    def _least(self, shape: Sequence[int], per_voxel: float, in_window: float, blending: float) -> tuple[tuple[int, ...], float]:
        """The window that takes least memory of those in which the network sees enough, and the bytes it takes."""
        window, whole = least_window(shape, self.roi_size), per_voxel * prod(shape)
        cut = in_window * prod(window) + blending * prod(shape)
        return (tuple(shape), whole) if whole <= cut else (window, cut)


def _blending(network: Callable[..., torch.Tensor]) -> float:
    """Bytes per voxel of the volume that windows take."""
    return 4.0 * classes_of(network) + BLENDING


def _in(dtype: torch.dtype, float32: float) -> float:
    """Bytes per voxel of a pass with this type, from those in float32: in half precision some tensors stay float32, 0.6 was measured."""
    return float32 * (1.0 if dtype == torch.float32 else 0.6)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _refuse_not_finite(logits: torch.Tensor) -> None:
    """Refuse logits of which some are NaN or infinite, whose labels would be of no meaning."""
    # a sum is one fast pass; where it overflows or cancels each value is looked at
    if not torch.isfinite(logits.sum()) and not torch.isfinite(logits).all():
        fix = "use --precision fp32; if that does not help, the weights or the values of the scan are damaged"
        raise UserError("network", "its output has values that are not finite", fix)


def batch_norms(network: Callable[..., torch.Tensor]) -> list[torch.nn.Module]:
    """The batch norms of a network; none of what is not a module."""
    modules = network.modules() if isinstance(network, torch.nn.Module) else ()
    return [module for module in modules if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
