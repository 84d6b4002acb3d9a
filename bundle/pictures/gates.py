"""What each gate of a trained network does to one scan: features before, coefficients, features after (the paper's Figure 3a)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle import root
from bundle.errors import UserError

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

    from bundle.networks import AttentionUnet, GridAttentionGate

Gated = dict[tuple[int, int], tuple["np.ndarray", "np.ndarray", "np.ndarray"]]


def gates(
    image: str,
    output: str | None = None,
    *,
    reference: str | None = None,
    config_file: str | Sequence[str] = "configs/inference.json",
    ckpt_path: str | None = None,
    size: tuple[int, int, int] = (160, 160, 96),
) -> Path:
    """Draw, for each gate, the skip's features before it, its coefficients, and the features times these, axial and sagittal.

    The slices are those that show most of the reference's structures, the middle of the scan where there is none.

    Args:
        image: the scan.
        output: the PNG to write; by default `runs/gates.png` in the bundle's folder.
        reference: its label map.
        config_file: inference config and overlays (for instance an experiment's `shared.json`), separated by commas.
        ckpt_path: the weights; those of the config by default.
        size: at most this many voxels around the middle go through the network.

    Raises:
        UserError: a network without gates.
    """
    from bundle.drawing.planes import PLANES, as_shown
    from bundle.inferers.seen import opened, seen
    from bundle.pictures.attention_figure import VIEWS, draw_gates, middle_of, most_of, window

    path = Path(root()) / "runs" / "gates.png" if output is None else Path(output)
    parser = opened(config_file, ckpt_path, "cpu")
    network = _network(parser)
    scan, found = seen(parser, {"image": image}, reference)
    label = np.zeros(scan.shape[1:], np.uint8) if found is None else found
    middle = middle_of(label)
    box = [slice(start, start + count) for start, count in map(window, middle, size, label.shape)]
    scan, label = scan[(slice(None), *box)], label[tuple(box)]
    inside = most_of(label)

    def view(volume: np.ndarray, name: str) -> np.ndarray:
        """The slice that shows most; a coarser volume's slice that has it inside."""
        axis = PLANES[name][0]
        return as_shown(volume, name, inside[axis] * volume.shape[axis] // label.shape[axis])

    features = gated_features(network, scan[None])
    rows = {(*key, name): tuple(view(part, name) for part in parts) for key, parts in features.items() for name in VIEWS}
    draw_gates({name: view(scan[0].numpy(), name) for name in VIEWS}, {name: view(label, name) for name in VIEWS}, rows, path)
    print(f"Written: {path}")
    return path


def gated_features(network: AttentionUnet, image: torch.Tensor) -> Gated:
    """By level and gate, from 1: mean absolute feature before, mean coefficient, mean absolute feature times coefficient; (X, Y, Z) each.

    Features and coefficients are x and alpha of the paper's equations; what comes after their product (W, batch norm, the convolution
    that combines several gates) is not in it.

    Args:
        network: an `AttentionUnet` in evaluation mode; its skips are listed coarsest first.
        image: (1, C, X, Y, Z).
    """
    import torch

    found: Gated = {}
    depth = len(network.skips)
    handles = []
    for position, skip in enumerate(network.skips):
        for number, gate in enumerate(getattr(skip, "gates", []), start=1):
            key = depth - position, number

            def keep(module: GridAttentionGate, inputs: tuple, outputs: tuple, key: tuple[int, int] = key) -> None:
                features, alpha = module.features(inputs[0]), outputs[1]
                found[key] = (_mean(features.abs()), _mean(alpha), _mean((features * module.gain(alpha)).abs()))

            handles.append(gate.register_forward_hook(keep))
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _network(parser: ConfigParser) -> AttentionUnet:
    """The network of the config with its weights, unfolded, so that its features are those of training."""
    if not getattr(parser.get_parsed_content("network_def"), "num_gates", 0):
        raise UserError("network_def", "has no gates", "give the config of a network whose num_gates is above 0")
    return parser.get_parsed_content("trained").eval()


def _mean(features: torch.Tensor) -> np.ndarray:
    return features[0].float().mean(dim=0).cpu().numpy()
