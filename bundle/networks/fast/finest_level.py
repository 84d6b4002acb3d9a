"""The finest level of the network a slab at a time, from the image to the classes: its features are never there as a whole.

They are more than half of what a pass holds. Those of the encoder are halved as they come, and computed again for the decoder, whose
features become classes as they come: a tenth more arithmetic for half of the memory. Where they are hundreds of megabytes that costs no
time, since no memory for them comes from the system.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bundle.networks.blocks import TwoConvs, UpBlock, before_second_norm, halve, splitting_pays
from bundle.networks.fast.after_norm import after_norm
from bundle.networks.fast.convolve import convolve, feature_type
from bundle.networks.fast.slabs import convolved, gathered, slab_planes
from bundle.networks.fast.upsampling import PlanesOfUpsampled
from bundle.networks.heads import to_classes
from bundle.networks.skips import OpenSkip

# up to so many slabs the features are there as a whole: 192 MB, more than those of a window of 160x160x96
WHOLE_SLABS = 12


def finest_planes(encode: nn.Module, skip: nn.Module, decode: nn.Module, x: Tensor) -> int:
    """How many planes of x (B, C, *spatial) at a time; 0 where the level's features have to be there as a whole, or may be.

    Args:
        encode, skip, decode: what the level is made of. Other blocks than the plain ones, and gates, need all features at once, and
            so do batch norms that learn; dropout would be drawn anew for the decoder.
        x: the image, whose sizes are even.
    """
    if type(encode) is not TwoConvs or type(skip) is not OpenSkip or type(decode) is not UpBlock or decode.align_corners:
        return 0
    if any(module.training for block in (encode, decode) for module in block.modules()):
        return 0
    width, both = decode.first.conv.weight.shape[:2]
    planes = slab_planes(x, width, WHOLE_SLABS)
    coarse = torch.empty(len(x), both - width, *(n // 2 for n in x.shape[2:]), device="meta")
    return planes if planes and splitting_pays(x, coarse) else 0


def learnt_classes(decode: UpBlock, skip: Tensor, coarse: Tensor, weight: Tensor) -> Tensor:
    """Classes of the decoder's features of the level, in training; of the features only those before each norm are there as a whole.

    Args:
        decode: of the level.
        skip: (B, channels, *spatial).
        coarse: features of the next coarser level (B, coarse_channels, *spatial / 2).
        weight: of the convolution from features to classes (classes, channels, 1, 1, 1).
    """
    first, second = decode.first, decode.second
    # the features have the size of the skip
    if not first.by_slabs(skip) or not second.by_slabs(skip) or second.dropping():
        return to_classes(decode(skip, coarse), weight)
    x = before_second_norm(first, second, decode.convolved(skip, coarse))
    return after_norm(x, second.norm, to_classes, [weight], layout=torch.contiguous_format)


def halved_by_slabs(encode: TwoConvs, x: Tensor, planes: int) -> Tensor:
    """The encoder's features of x (B, C, D, H, W), D even, on half the grid: (B, channels, D/2, H/2, W/2)."""
    return gathered((halve(slab) for slab in encode.slabs(x, planes, ahead=1)), x.shape[2] // 2)


def classes_by_slabs(encode: TwoConvs, decode: UpBlock, x: Tensor, coarse: Tensor, weight: Tensor, planes: int) -> Tensor:
    """Classes of the decoder's features of the level.

    Args:
        encode: of the level, whose features of x are the skip.
        decode: of the level.
        x: the image (B, C, *spatial).
        coarse: features of the next coarser level (B, coarse_channels, *spatial / 2).
        weight: of the convolution from features to classes (classes, channels, 1, 1, 1).
        planes: of a slab; even.
    """
    dtype, depth = feature_type(x), x.shape[2]
    # as many planes of the encoder ahead as leave the decoder's first convolution with pairs, which up-sampling goes by
    skip, ahead = decode.first.conv.weight.shape[1] - coarse.shape[1], 2
    of_skip, of_coarse = (part.to(dtype) for part in decode.first.conv.weight.split([skip, coarse.shape[1]], dim=1))
    upsampled = PlanesOfUpsampled(coarse, of_coarse)

    def first() -> Iterator[Tensor]:
        stop, bias = 0, decode.first.conv.bias
        for slab in convolved(encode.slabs(x, planes, ahead), lambda part: convolve(part, of_skip, bias, [0, 1, 1]), depth):
            start, stop = stop, stop + slab.shape[2]
            done = [decode.first.finish(upsampled.add_to(slab, start, stop))]
            del slab
            yield done.pop()

    classes = (to_classes(slab, weight) for slab in convolved(first(), decode.second.of_slab, depth))
    return gathered(classes, depth, layout=torch.contiguous_format)
