"""Which convolutions are kept out of bfloat16, and that others are not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from number_formats import Formats

from bundle.networks.small_convolutions import SmallConvolutionsInFloat32, as_now, small


@pytest.mark.parametrize(
    ("size", "kernel", "dilation", "expected"),
    [
        ((2, 8, 8), 3, 1, True),
        ((8, 8, 2), 3, 1, True),
        ((3, 3, 3), 3, 1, False),
        ((1, 1, 1), 1, 1, False),
        ((1, 2, 2), 2, 1, True),
        ((4, 8, 8), 5, 1, True),
        ((5, 5, 5), 5, 1, False),
        ((4, 8, 8), 3, 2, True),
        ((5, 5, 5), 3, (2, 2, 2), False),
        ((5, 5, 3), 3, (1, 1, 2), True),
        ((2, 9), 3, 1, True),
    ],
)
def test_which_are_small(size, kernel, dilation, expected):
    x, weight = torch.empty(1, 1, *size), torch.empty((1, 1) + (kernel,) * len(size))
    assert small(x, weight, dilation) is expected
    assert small(x[0], weight, dilation) is expected  # a volume without a batch


@pytest.mark.parametrize(("size", "expected"), [(2, torch.float32), (3, torch.bfloat16)])
def test_only_small_convolutions_are_float32_and_their_results_are_autocasts(size, expected):
    weight = torch.rand(2, 2, 3, 3, 3)
    x = torch.rand(1, 2, size, 4, 4)
    calls = (
        lambda: F.conv3d(x, weight, None, 1, 1),
        lambda: F.conv3d(input=x, weight=weight, padding=1),
        lambda: F.conv_transpose3d(x, weight, stride=2),
        lambda: torch.nn.Conv3d(2, 2, 3, padding="same")(x),
    )
    for call in calls:
        with Formats() as formats, torch.autocast("cpu", torch.bfloat16), SmallConvolutionsInFloat32():
            out = call()
        assert formats.seen == [expected] and out.dtype == torch.bfloat16


def test_contexts_within_each_other():
    assert not isinstance(as_now(), SmallConvolutionsInFloat32)
    with SmallConvolutionsInFloat32():
        with as_now():
            assert isinstance(as_now(), SmallConvolutionsInFloat32)
        assert isinstance(as_now(), SmallConvolutionsInFloat32)
    assert not isinstance(as_now(), SmallConvolutionsInFloat32)
