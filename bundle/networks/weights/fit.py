"""Whether weights are those of a network and of the settings that it runs with, and what to do where they are not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bundle import channels as channel_block
from bundle.errors import UserError, counted


def why_not(network: nn.Module, state_dict: Mapping[str, Tensor], error: Exception) -> tuple[str, str]:
    """What is wrong with weights that a network has not taken, and the fix.

    Args:
        network: the network.
        state_dict: the weights, by name.
        error: what `load_state_dict` has raised.
    """
    own: dict[str, Tensor] = getattr(network, "state_dict", dict)()
    others = {name: value for name, value in state_dict.items() if name in own and value.shape != own[name].shape}
    missing, more = [name for name in own if name not in state_dict], [name for name in state_dict if name not in own]
    if others and not missing and not more and (classes := _classes(own, others)):
        there, wanted = classes
        return f"these weights have {counted(there, 'class', 'classes')}, the network has {wanted}", "give --labels as in training"
    reasons = [
        f"{counted(len(names), 'tensor')} {what}, such as {names[0]}" for names, what in ((missing, "missing"), (more, "more")) if names
    ]
    if others:
        name = next(iter(others))
        shapes = f"{list(others[name].shape)}, in the network {list(own[name].shape)}"
        sized = counted(len(others), "tensor has another size", "tensors have other sizes")
        reasons.append(f"{sized}, such as {name}: {shapes}")
    reason = "; ".join(reasons) or " ".join(str(error).split())[:300]
    return f"these weights are of another network ({reason})", "set network_def as it was in training"


def _classes(own: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> tuple[int, int] | None:
    """How many classes weights and network have, where nothing but the heads differs; None where something else does.

    The first dimension of a head is the classes. A head that joins those of several levels has multiples of them in the second one.
    """
    if next(iter(own)) in others or any(not value.ndim or value.ndim != own[name].ndim for name, value in others.items()):
        return None
    there, wanted = next((value.shape[0], own[name].shape[0]) for name, value in others.items())
    for name, value in others.items():
        further = zip(value.shape[1:], own[name].shape[1:], strict=True)
        if (value.shape[0], own[name].shape[0]) != (there, wanted) or any(a != b and a * wanted != b * there for a, b in further):
            return None
    return (there, wanted) if any(value.ndim > 1 for value in others.values()) else None


def refuse_other_settings(content: Any, where: str | os.PathLike, network: nn.Module, wanted: Mapping[str, Any]) -> None:
    """Refuse a `last.pt` that was trained with other labels, channels or HU range; files without `settings` say nothing.

    Labels are compared by name and order, which is that of the network's channels, and not by the values that label maps get. A network
    that gives a part of its classes (`classes`) has the labels of these. Spacing is not compared: a coarser one is a quick look.

    Args:
        content: what the file holds.
        where: the file.
        network: takes the weights.
        wanted: `labels`, `channels`, `hu_range` of this run, as far as they are to be compared.

    Raises:
        UserError: one of them is another than in training, with both values.
    """
    settings = content.get("settings") if isinstance(content, Mapping) else None
    if not isinstance(settings, Mapping):
        return
    for name, same in (("labels", _same_labels), ("channels", _same_channels), ("hu_range", _same_range)):
        if name not in settings or name not in wanted or same(settings[name], wanted[name], network):
            continue
        there, now = ((list(value) if name == "labels" else value) for value in (settings[name], wanted[name]))
        given = dict(settings[name]) if name == "labels" else settings[name]
        problem = f"these weights were trained with the {name} {there}, and not {now}"
        raise UserError(where, problem, f'give --{name} "{given}", as in training, or other weights')


def _same_labels(there: Any, now: Any, network: nn.Module) -> bool:
    if not isinstance(there, Mapping) or not isinstance(now, Mapping):
        return True
    trained, names, classes = list(there), list(now), getattr(network, "classes", None)
    if names == trained or not isinstance(classes, Sequence):
        return names == trained
    return max(classes) < len(trained) and names == [trained[number] for number in classes]


def _same_channels(there: Any, now: Any, _: nn.Module) -> bool:
    """By kind and range; names find the files of a case and may be others, but not the same ones in another order."""
    before, after = channel_block.channels_of(there), channel_block.channels_of(now)
    names, wanted = [one.name for one in before], [one.name for one in after]
    if len(before) != len(after):
        return True  # the shapes of the weights tell
    return [(one.kind, one.range) for one in before] == [(one.kind, one.range) for one in after] and (
        names == wanted or sorted(names) != sorted(wanted)
    )


def _same_range(there: Any, now: Any, _: nn.Module) -> bool:
    return list(map(float, there)) == list(map(float, now))
