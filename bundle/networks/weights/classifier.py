"""Weights of a classifier with what they mean: without its classes, spacing and window of HU a network's outputs are numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from monai.networks.utils import copy_model_state
from torch import nn

from bundle.errors import UserError
from bundle.networks.attention_sononet import AttentionSononet
from bundle.networks.weights.files import LEARNT_WITH, MODEL, read_checkpoint, read_state_dict, refuse_not_finite, state_dict_of

# what a file says about its network
NEEDED = ("classes", "spatial_dims", "spacing", "hu_range", "patch_size", "network")


class LearntWith:
    """What a classifier is trained with, so that `CheckpointSaver` saves it beside the weights.

    Args:
        network: its arguments are kept where it is an `AttentionSononet`.
        settings: classes, spatial_dims, spacing, hu_range, patch_size.
    """

    def __init__(self, network: nn.Module, **settings: Any) -> None:
        arguments = network.arguments() if isinstance(network, AttentionSononet) else None
        self.settings: dict[str, Any] = json.loads(json.dumps({**settings, "network": arguments}))

    def state_dict(self) -> dict[str, Any]:
        """Plain values, that load with `weights_only=True`."""
        return dict(self.settings)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: what it is trained with now counts."""


def read_classifier(path: str | os.PathLike, network: nn.Module | None = None) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a file that a training with `classify.json` saved, in evaluation mode, and what it was trained with.

    Args:
        path: the file.
        network: to fill; None makes the `AttentionSononet` that the file describes.

    Raises:
        UserError: the file cannot be read, says nothing about its classes, or is of another network.
    """
    content = read_checkpoint(path)
    learnt = content.get(LEARNT_WITH) if isinstance(content, Mapping) else None
    if not isinstance(learnt, Mapping) or not set(NEEDED) <= learnt.keys():
        raise UserError(path, "does not say which classes it knows", "give the model.pt of a training with classify.json")
    if network is None:
        if not isinstance(learnt["network"], Mapping):
            raise UserError(path, "its network is none of this bundle's", "give classifier_network, the network that it was trained with")
        network = AttentionSononet(**learnt["network"])
    state = state_dict_of(content[MODEL], path)
    refuse_not_finite(state, path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(path, f"these weights are of another network ({reason})", "give the network that it was trained with") from error
    return network.eval(), dict(learnt)


def start_from(network: nn.Module, path: str | os.PathLike | None) -> nn.Module:
    """The network with all weights of a file that have its names and shapes; None: as it is.

    So a network with one aggregation starts from another's: "fine_tuned" from one that was trained as "mean".

    Raises:
        UserError: the file cannot be read, or nothing of it fits.
    """
    if path is None:
        return network
    _, changed, _ = copy_model_state(network, read_state_dict(path))
    if not changed:
        raise UserError(path, "fits no layer of this network", "give weights of a training with classify.json")
    print(f"{path}: {len(changed)} of {len(network.state_dict())} tensors taken over", flush=True)
    return network
