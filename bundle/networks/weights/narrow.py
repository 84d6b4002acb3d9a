"""Weights of a narrower network from those of a wide one: the channels that matter most are kept (structured pruning)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bundle.errors import UserError
from bundle.networks.attention_unet import AttentionUnet
from bundle.networks.weights.files import read_state_dict, write_state_dict


class Layer(NamedTuple):
    """A convolution: the beginning of its names and of its batch norm's, its level, and which features it takes and makes."""

    conv: str
    norm: str | None
    level: int
    out: str
    inputs: tuple[str, ...]


def narrow(weights: str, out: str, channels: Sequence[int]) -> None:
    """Write weights of an `AttentionUnet` with fewer channels, made of the most important ones: a beginning for its training.

    What is left of a network does not segment by itself; trained on, it learns in fewer steps than one from random weights.

    Args:
        weights: checkpoint of an `AttentionUnet` of plain blocks and additive gates.
        out: the file to write, a state dict.
        channels: of the narrow network, by level, the finest first; each at most that of the wide one.

    Raises:
        UserError: the file cannot be read, is of another network, or has fewer channels.
    """
    kept = narrowed(read_state_dict(weights), channels, weights)
    write_state_dict(kept, out)
    print(f"{out}: {sum(value.numel() for value in kept.values()):,} values of channels {list(channels)}")


def narrowed(state: Mapping[str, Tensor], channels: Sequence[int], where: str = "state dict") -> dict[str, Tensor]:
    """The weights of the narrow network. A channel's importance is the root mean square of its feature, which is that of a normal
    distribution with the batch norm's mean and deviation after the ReLU, times the norm of the weights that take it."""
    wide, gates = _shape_of(state, where)
    if len(channels) != len(wide) or any(not 1 <= few <= many for few, many in zip(channels, wide, strict=True)):
        raise UserError("--channels", f"{list(channels)} for a network of {wide}", "give each level at most as many")
    layers = list(_layers(len(wide) - 1, gates))
    widths = {"image": state["encoder.0.0.conv.weight"].shape[1]} | {layer.out: len(state[f"{layer.conv}.weight"]) for layer in layers}
    kept = _kept(state, layers, widths, channels)
    made = {}
    for layer in layers:
        rows = kept[layer.out]
        columns = [part[:, kept[name]] for name, part in _by_input(state, layer, widths)]
        made[f"{layer.conv}.weight"] = torch.cat(columns, dim=1)[rows]
        if f"{layer.conv}.bias" in state:
            made[f"{layer.conv}.bias"] = state[f"{layer.conv}.bias"][rows]
        if layer.norm:
            for part in ("weight", "bias", "running_mean", "running_var"):
                made[f"{layer.norm}.{part}"] = state[f"{layer.norm}.{part}"][rows]
            made[f"{layer.norm}.num_batches_tracked"] = state[f"{layer.norm}.num_batches_tracked"].clone()
    # in the order of the network, which also says that nothing is missing
    return {name: made[name] for name in state}


def _shape_of(state: Mapping[str, Tensor], where: str) -> tuple[list[int], int]:
    """Channels by level, and gates on a skip."""
    levels = len({name.split(".")[1] for name in state if name.startswith("encoder.")})
    gates = len({name.split(".")[3] for name in state if name.startswith("skips.0.gates.")})
    try:
        wide = [*(len(state[f"encoder.{level}.1.conv.weight"]) for level in range(levels)), len(state["centre.1.conv.weight"])]
        image, classes = state["encoder.0.0.conv.weight"].shape[1], len(state["heads.final.bias"])
        expected = AttentionUnet(3, image, classes, wide, gates).state_dict()
    except (KeyError, UserError, IndexError):
        expected = {}
    if not expected or {name: value.shape for name, value in expected.items()} != {name: value.shape for name, value in state.items()}:
        raise UserError(where, "these are not the weights of an AttentionUnet of plain blocks and additive gates", "give such a checkpoint")
    return wide, gates


def _layers(levels: int, gates: int) -> Iterator[Layer]:
    """All convolutions of the network, each with what it takes and makes."""

    def block(prefix: str, level: int, out: str, *inputs: str) -> Layer:
        return Layer(f"{prefix}.conv", f"{prefix}.norm", level, out, inputs)

    for level in range(levels):
        yield block(f"encoder.{level}.0", level, f"inner {level}", f"skip {level - 1}" if level else "image")
        yield block(f"encoder.{level}.1", level, f"skip {level}", f"inner {level}")
    yield block("centre.0", levels, "inner centre", f"skip {levels - 1}")
    yield block("centre.1", levels, "centre", "inner centre")
    if gates:
        yield block("gating", levels, "gating", "centre")
    coarse, signal = "centre", "gating"
    for place, level in enumerate(reversed(range(levels))):
        skip = f"skip {level}"
        if gates and level:
            gated = []
            for number in range(gates):
                prefix, compared = f"skips.{place}.gates.{number}", f"compared {level} {number}"
                yield Layer(f"{prefix}.theta", None, level, compared, (skip,))
                yield Layer(f"{prefix}.phi", None, level, compared, (signal,))
                yield Layer(f"{prefix}.psi", None, level, "coefficient", (compared,))
                gated.append(f"gated {level} {number}")
                yield Layer(f"{prefix}.W", f"{prefix}.norm", level, gated[-1], (skip,))
            skip = f"combined {level}"
            yield block(f"skips.{place}.combine", level, skip, *gated)
        yield block(f"decoder.{place}.first", level, f"first {level}", skip, coarse)
        yield block(f"decoder.{place}.second", level, f"decoded {level}", f"first {level}")
        coarse = signal = f"decoded {level}"
    for level in range(levels):
        yield Layer(f"heads.levels.{level}", None, level, f"classes {level}", (f"decoded {level}",))
    yield Layer("heads.final", None, 0, "classes", tuple(f"classes {level}" for level in range(levels)))


def _by_input(state: Mapping[str, Tensor], layer: Layer, widths: Mapping[str, int]) -> Iterator[tuple[str, Tensor]]:
    """The features that a convolution takes, each with the columns of the weights that take it."""
    parts = state[f"{layer.conv}.weight"].split([widths[name] for name in layer.inputs], dim=1)
    return zip(layer.inputs, parts, strict=True)


def _kept(state: Mapping[str, Tensor], layers: Sequence[Layer], widths: Mapping[str, int], channels: Sequence[int]) -> dict[str, Tensor]:
    """Which channels of each feature stay, in their order."""
    taken: dict[str, list[Tensor]] = {}
    for layer in layers:
        for name, part in _by_input(state, layer, widths):
            taken.setdefault(name, []).append(part.float().pow(2).flatten(2).sum((0, 2)))
    kept = {"image": torch.arange(widths["image"])}
    for layer in layers:
        if layer.out not in taken or layer.out.startswith("classes"):
            kept[layer.out] = torch.arange(widths[layer.out])
        elif layer.out not in kept:
            made = sum(_rms(state, maker) for maker in layers if maker.out == layer.out)
            importance = made * torch.stack(taken[layer.out]).sum(0).sqrt()
            kept[layer.out] = importance.topk(channels[layer.level]).indices.sort().values
    return kept


def _rms(state: Mapping[str, Tensor], layer: Layer) -> Tensor:
    """Root mean square of each feature: after batch norm and ReLU, which W lacks; of what has no batch norm, the norm of its weights."""
    if layer.norm is None:
        return state[f"{layer.conv}.weight"].float().flatten(1).norm(dim=1)
    mean, deviation = state[f"{layer.norm}.bias"].float(), state[f"{layer.norm}.weight"].float().abs() + 1e-6
    if layer.conv.endswith(".W"):
        return (mean**2 + deviation**2).sqrt()
    ratio = mean / deviation
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(ratio)
    return ((mean**2 + deviation**2) * below + mean * deviation * density).clamp_min(0).sqrt()
