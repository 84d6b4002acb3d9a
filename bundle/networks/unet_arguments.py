"""What a U-Net with gates may be asked for: each argument that is wrong is named, with its value and what it may be."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from bundle.errors import UserError


def check_sizes(spatial_dims: int, in_channels: int, out_channels: int, channels: Sequence[int], num_gates: int, dropout: float) -> None:
    """Raise `UserError` that names the first argument that is wrong, its value, and what it may be."""
    if spatial_dims not in (2, 3):
        raise UserError("network_def", f"spatial_dims is {spatial_dims!r}, it must be 2 or 3")
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels), *((f"channels {channels!r}", c) for c in channels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError("network_def", f"{name} has the value {value!r}, it must be a whole number from 1 up")
    if len(channels) < 2:
        raise UserError("network_def", f"channels is {channels!r}, it must name at least two levels")
    if isinstance(num_gates, bool) or not isinstance(num_gates, int) or num_gates < 0:
        raise UserError("network_def", f"num_gates is {num_gates!r}, it must be 0 (plain U-Net), 1, 2 or more")
    if not 0 <= dropout < 1:
        raise UserError("network_def", f"dropout is {dropout!r}, it must be a probability, at least 0 and less than 1")


def widened(channels: Sequence[int], width: float) -> list[int]:
    """All channels times a factor, rounded down, at least 1; `UserError` where the factor is none."""
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width < math.inf:
        raise UserError("network_def", f"width is {width!r}, it must be a number above 0")
    # 100 times 0.29 is 28.999999999999996
    return [max(1, math.floor(number * width + 1e-6)) for number in channels]


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise `UserError` where a choice is none of those there are."""
    if value not in choices:
        raise UserError("network_def", f"{name} is {value!r}, it must be one of {', '.join(choices)}")


def check_classes(classes: Sequence[int] | None, out_channels: int) -> None:
    """Raise `UserError` where the chosen classes are not some of those there are, each once."""
    if classes is None:
        return
    known = isinstance(classes, (list, tuple)) and all(isinstance(number, int) and not isinstance(number, bool) for number in classes)
    if not known or not classes or len(set(classes)) != len(classes) or not all(0 <= number < out_channels for number in classes):
        fix = f"it must be a list of different numbers from 0 to {out_channels - 1}, the background's first"
        raise UserError("network_def", f"classes is {classes!r}, {fix}")


def check_gates(
    num_gates: int, gate_width: int | None, encoder_gates: bool, decoder_gates: bool, attention_features: bool, encoder_maps: bool
) -> None:
    """Raise `UserError` where something needs gates that are not wanted, or their width is not one."""
    wanted = {"encoder_gates": encoder_gates, "decoder_gates": decoder_gates, "attention_features": attention_features}
    for name, needs in wanted.items():
        if needs and not num_gates:
            raise UserError("network_def", f"{name} needs gates, but num_gates is 0")
    if encoder_maps and not encoder_gates:
        raise UserError("network_def", "encoder_maps needs encoder_gates, which are off")
    if gate_width is not None and (isinstance(gate_width, bool) or not isinstance(gate_width, int) or gate_width < 1):
        raise UserError("network_def", f"gate_width is {gate_width!r}, it must be a whole number from 1 up")
