"""Arguments of the U-Net that are wrong are named, with their value and what they may be."""

from __future__ import annotations

import pytest

from bundle.networks import AttentionUnet
from bundle.networks.unet_arguments import widened


def test_widths_are_rounded_down_but_for_what_floats_lack():
    assert widened((16, 32, 100), 1.047) == [16, 33, 104]
    assert widened((100,), 0.29) == [29], "100 times 0.29 is 28.999999999999996"
    assert widened((2,), 0.1) == [1]


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf"), True, "2"])
def test_a_width_is_a_number_above_0(width):
    with pytest.raises(ValueError, match=r"width is .*, it must be a number above 0"):
        AttentionUnet(width=width)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"spatial_dims": 4}, "spatial_dims is 4"),
        ({"in_channels": 0}, "in_channels has the value 0"),
        ({"out_channels": 2.0}, "out_channels has the value 2.0"),
        ({"channels": (8,)}, "at least two levels"),
        ({"channels": (8, -1)}, "has the value -1"),
        ({"num_gates": -1}, "num_gates is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"init": "zeros"}, "init is 'zeros', it must be one of open, authors"),
        ({"gate": "soft"}, "gate is 'soft'"),
        ({"deep_supervision": True}, "deep_supervision is True"),
        ({"encoder_gates": True, "num_gates": 0}, "encoder_gates needs gates"),
        ({"attention_features": True, "num_gates": 0}, "attention_features needs gates"),
        ({"decoder_gates": True, "num_gates": 0}, "decoder_gates needs gates"),
        ({"encoder_maps": True}, "encoder_maps needs encoder_gates"),
        ({"gate_width": 0}, "gate_width is 0"),
        ({"classes": [0, 3]}, r"classes is \[0, 3\], it must be a list of different numbers from 0 to 2"),
        ({"classes": [1, 1]}, r"classes is \[1, 1\]"),
        ({"classes": []}, r"classes is \[\]"),
        ({"classes": 2}, "classes is 2"),
        ({"blocks": "recurrent"}, "blocks is 'recurrent', it must be one of plain, residual, dense"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionUnet(**{"out_channels": 3, **arguments})
