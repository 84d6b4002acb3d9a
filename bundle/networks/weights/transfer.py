"""Starting from weights that there are: of the plain U-Net, of other structures, of another number of gates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from bundle.distributed import unwrapped
from bundle.errors import UserError, counted
from bundle.networks.attention_unet import AttentionUnet
from bundle.networks.initialise import open_gates
from bundle.networks.weights.authors import convert_state_dict
from bundle.networks.weights.files import read_state_dict, refuse_not_finite

if TYPE_CHECKING:
    from ignite.engine import Engine

Network = TypeVar("Network", bound=nn.Module)
# names of the parameters that belong to the gates begin with one of these
GATES = ("skips.", "gating.", "encoder_gates.", "decoder_gates.")


def transfer(
    network: AttentionUnet,
    weights: str | os.PathLike | Mapping[str, Tensor],
    *,
    labels: Sequence[str] | Mapping[str, object] | None = None,
    weights_labels: Sequence[str] | Mapping[str, object] | None = None,
) -> AttentionUnet:
    """Give a network all that fits of other weights, in place; what did not fit keeps its initialisation.

    - Where the weights lack gates (those of a plain U-Net, or with fewer gates), all are opened: it starts as the plain U-Net.
    - Heads are given over by the names of structures: those of the same name start with the logits that the weights give,
      new ones with their initialisation. Without names, heads are taken where the number of classes is the same.
    - Weights of the authors' code are converted on the way.
    - A network that gives some of its classes only (`AttentionUnet(classes=...)`) takes over the heads of all of them.

    Args:
        network: to fill.
        weights: a checkpoint file or a state dict.
        labels: names of the network's classes in the order of its channels (the `labels` block of a config will do).
        weights_labels: the same for the weights; None: as the network's.

    Returns:
        The network.

    Raises:
        UserError: the weights fit no part of the encoder, number of names and classes differ, or `classes` chooses other names.
    """
    where = "weights" if isinstance(weights, Mapping) else str(weights)
    state_dict = dict(weights) if isinstance(weights, Mapping) else read_state_dict(weights)
    if any(name.split(".")[-3:-1] == ["conv1", "0"] for name in state_dict):
        state_dict = convert_state_dict(state_dict)
    refuse_not_finite(state_dict, where)
    own = network.state_dict()
    fitting = {name: value for name, value in state_dict.items() if name in own and own[name].shape == value.shape}
    body = [name for name in own if name.startswith(("encoder.", "decoder.")) and name.endswith("conv.weight")]
    if not any(name in fitting for name in body):
        raise UserError(where, "fits no layer of this network", "give network_def the channels that the weights were trained with")
    names = list(labels) if labels is not None else None
    other_names = list(weights_labels) if weights_labels is not None else names
    if getattr(network, "classes", None) is not None:
        _check_chosen(network, state_dict, names, other_names, where)
        names = other_names
    same_heads = names == other_names and all(name in fitting for name in own if name.startswith("heads."))
    heads = {} if same_heads else _heads(network, state_dict, names, other_names, where)
    if not same_heads:
        fitting = {name: value for name, value in fitting.items() if not name.startswith("heads.")}
    gates = [name for name in own if name.startswith(("skips.", "encoder_gates.", "decoder_gates."))]
    open_again = not all(name in fitting for name in gates)
    network.load_state_dict({**own, **{name: fitting[name] for name in fitting if not open_again or name not in gates}, **heads})
    if open_again:
        open_gates(network)
    missing = [name for name in body if name not in fitting]
    print(f"{where}: {len(fitting)} of {len(own)} tensors taken over" + (f", of the body all but {', '.join(missing)}" if missing else ""))
    return network


def gates_only(network: Network, only: bool = True) -> Network:
    """Let an optimizer change the gates (and the gating convolution) only, or everything again; returns the network."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not only or name.startswith(GATES))
    return network


def _check_chosen(
    network: AttentionUnet, state_dict: Mapping[str, Tensor], names: list[str] | None, other_names: list[str] | None, where: str
) -> None:
    """Raise `UserError` where the classes that the network gives are not the labels, by name and in their order."""
    bias = state_dict.get("heads.final.bias")
    classes = len(network.heads.final.weight)
    if bias is None or len(bias) != classes:
        there = counted(0 if bias is None else len(bias), "class", "classes")
        problem = f"has {there}, but network_def chooses from {classes}"
        raise UserError(where, problem, "give network_def the out_channels of these weights")
    if names is None or other_names is None or names == other_names:
        return
    chosen = [other_names[number] for number in network.classes or [] if number < len(other_names)]
    if chosen != names:
        problem = f"classes {network.classes} of the weights are {', '.join(chosen) or 'nothing'}, but the labels are {', '.join(names)}"
        raise UserError("network_def", problem, "choose the classes of the labels, in their order")


@torch.no_grad()
def _heads(
    network: AttentionUnet, state_dict: Mapping[str, Tensor], names: list[str] | None, other_names: list[str] | None, where: str
) -> dict[str, Tensor]:
    """The network's heads, with those of same-named structures set to give the logits that the weights give.

    Each level's head and its part of the last convolution are multiplied, as in `FusedHeads`: a structure's row of the
    product becomes its head, and its row of the last convolution takes that head alone. So it depends on no structure
    that is gone or new.
    """
    heads = {name: value.clone() for name, value in network.state_dict().items() if name.startswith("heads.")}
    final, final_bias = state_dict.get("heads.final.weight"), state_dict.get("heads.final.bias")
    levels = len(network.heads.levels)
    if names is None or other_names is None or final is None or final_bias is None:
        return heads
    old, new = len(final), network.out_channels
    for given, classes, what in ((names, new, "the network"), (other_names, old, "the file")):
        if len(given) != classes:
            problem = f"{what} has {counted(classes, 'class', 'classes')}, but {counted(len(given), 'name is', 'names are')} given"
            raise UserError(where, problem, f"name all {classes}, the background first (in finetune.json: --pretrained_labels)")
    final = final.flatten(1).float()
    for level in range(levels):
        weight, bias = state_dict.get(f"heads.levels.{level}.weight"), state_dict.get(f"heads.levels.{level}.bias")
        target = heads[f"heads.levels.{level}.weight"]
        if weight is None or bias is None or weight.shape[1:] != target.shape[1:]:
            return {name: value for name, value in network.state_dict().items() if name.startswith("heads.")}
        part = final[:, level * old : (level + 1) * old]
        rows, offsets = (part @ weight.flatten(1).float()).reshape(old, *weight.shape[1:]), part @ bias.float()
        for row, name in enumerate(names):
            if name in other_names:
                source = other_names.index(name)
                target[row], heads[f"heads.levels.{level}.bias"][row] = rows[source], offsets[source]
                heads["heads.final.weight"][row, level * new : (level + 1) * new] = 0
                heads["heads.final.weight"][row, level * new + row] = 1
                heads["heads.final.bias"][row] = final_bias[source]
    return heads


class GatesFirst:
    """Ignite handler: for the first epochs only the gates learn, then everything does.

    MONAI has handlers that change numbers while training, none that freezes parameters. In several processes PyTorch's wrapper
    waits for a gradient of every parameter that it was made with, so there the others' gradients are dropped before each step.

    Args:
        network: whose gates go first.
        epochs: how many epochs; 0 for none.
    """

    def __init__(self, network: nn.Module, epochs: int) -> None:
        self.network, self.epochs = network, epochs

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before its run."""
        from ignite.engine import Events
        from monai.engines.utils import IterationEvents

        if self.epochs <= 0:
            return
        if unwrapped(self.network) is self.network:
            engine.add_event_handler(Events.EPOCH_STARTED, self)
        else:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self.drop_gradients)

    def __call__(self, engine: Engine) -> None:
        """Freeze or free, by the epoch that starts, so that a resumed run continues as it was."""
        gates_only(self.network, engine.state.epoch <= self.epochs)

    def drop_gradients(self, engine: Engine) -> None:
        """Leave the optimizer the gradients of the gates only, while it is their turn."""
        if engine.state.epoch <= self.epochs:
            for name, parameter in unwrapped(self.network).named_parameters():
                if not name.startswith(GATES):
                    parameter.grad = None
