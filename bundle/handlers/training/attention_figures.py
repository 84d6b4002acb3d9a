"""Attention coefficients of one fixed scan while the network trains: the paper's Figure 4."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.distributed import unwrapped
from bundle.errors import UserError
from bundle.files import written_aside

if TYPE_CHECKING:
    from bundle.networks import AttentionUnet
    from bundle.pictures.attention_figure import Row

# as in the paper's Figure 4
EPOCHS = (3, 6, 10, 60, 150)


class AttentionFigures:
    """Write the gates' coefficients of a fixed scan at chosen epochs, and one figure over all epochs so far.

    After each chosen epoch `attention/epoch_NNNN.npz` (slices of the coefficients of every gate, axial and sagittal, resampled to the
    scan; named "level gate view", as "2 1 axial") and `attention.png` are written below `output_dir`; a resumed training continues
    both, and what is left of another training in the folder is not drawn. MONAI's `GradCAM` and friends explain outputs by gradients;
    the coefficients are part of the network, so one forward pass gives them. The pass is done in evaluation mode, without gradients,
    and leaves the network's mode as it was.

    Args:
        network: an `AttentionUnet` with gates, or a distributed wrapper of one.
        dataset: items with a preprocessed image (C, X, Y, Z) in RAS, of which the first channel is drawn, and its label: the validation
            data set.
        output_dir: gets `attention.png` and the folder `attention`.
        epochs: after which epochs.
        index: which item of the data set is the fixed scan.
        size: at most this many voxels around the middle of the structures go through the network; bounds time and memory.
        device: where the pass is done.

    Raises:
        UserError: a network without gates.
    """

    def __init__(
        self,
        network: nn.Module,
        dataset: Sequence,
        output_dir: str | os.PathLike,
        *,
        epochs: Sequence[int] = EPOCHS,
        index: int = 0,
        size: Sequence[int] = (160, 160, 96),
        device: str | torch.device = "cpu",
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        if not getattr(unwrapped(network), "num_gates", 0):
            raise UserError("attention_figures.json", "this network has no gates to draw (num_gates is 0)", "leave this overlay out")
        self.network, self.dataset, self.index = network, dataset, index
        self.folder = Path(output_dir) / "attention"
        self.epochs, self.size = frozenset(int(epoch) for epoch in epochs), tuple(size)
        self.device, self.image_key, self.label_key = torch.device(device), image_key, label_key
        self._scan: tuple[torch.Tensor, np.ndarray] | None = None
        # epochs that were done when the training began, and those written since
        self._begun: int | None = None
        self._written: set[int] = set()

    def attach(self, engine: Engine) -> None:
        """Hang on to the end of each epoch of a trainer; after what resumes it."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self._begun, self._written = engine.state.epoch, set()

    def __call__(self, engine: Engine) -> None:
        """Write after this epoch if it is one of the chosen, on the first process only."""
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        if first and engine.state.epoch in self.epochs:
            self.write(engine.state.epoch)

    def write(self, epoch: int) -> Path:
        """Write coefficients and figure for this epoch; returns the figure's path."""
        from bundle.drawing.planes import PLANES, as_shown
        from bundle.pictures.attention_figure import VIEWS, draw_training, most_of

        image, label = self._fixed_scan()
        middle = most_of(label)
        slices: dict[str, Any] = {}  # arrays; as such mypy would give them to `allow_pickle` too
        for (level, gate), coefficients in self._coefficients(image).items():
            slices |= {f"{level} {gate} {name}": as_shown(coefficients, name, middle[PLANES[name][0]]) for name in VIEWS}
        with written_aside(self.folder / f"epoch_{epoch:04d}.npz") as aside, aside.open("wb") as file:
            np.savez_compressed(file, **slices)
        self._written.add(epoch)
        scan, path = image[0, 0].numpy(), self.folder.parent / "attention.png"
        pictures, contours = ({name: as_shown(volume, name, middle[PLANES[name][0]]) for name in VIEWS} for volume in (scan, label))
        draw_training(pictures, contours, self._stored(), path)
        return path

    def _stored(self) -> dict[int, dict[Row, np.ndarray]]:
        """The slices of every epoch so far: {epoch: {(level, gate, view): slice}}; not the means over gates of earlier versions."""
        stored = {}
        for path in sorted(self.folder.glob("epoch_*.npz")):
            epoch = int(path.stem.split("_")[1])
            if self._begun is not None and epoch > self._begun and epoch not in self._written:
                continue
            with np.load(path) as content:
                keys = {key: key.split() for key in content.files}
                if all(len(parts) == 3 for parts in keys.values()):
                    slices = {(int(parts[0]), int(parts[1]), parts[2]): content[key] for key, parts in keys.items()}
                    stored[epoch] = slices
        return stored

    def _fixed_scan(self) -> tuple[torch.Tensor, np.ndarray]:
        """Image (1, C, X, Y, Z) and label (X, Y, Z) of the fixed scan, cropped around the structures; loaded once."""
        from bundle.pictures.attention_figure import middle_of, window

        if self._scan is None:
            item = self.dataset[self.index]
            image, label = (torch.as_tensor(item[key]).detach().cpu() for key in (self.image_key, self.label_key))
            middle = middle_of(label[0].numpy())
            box: list[slice] = [slice(start, start + n) for start, n in map(window, middle, self.size, label.shape[1:])]
            tensor = image.as_subclass(torch.Tensor)[(slice(None), *box)].float()
            self._scan = tensor[None].contiguous(), label.as_subclass(torch.Tensor)[0][tuple(box)].numpy()
        return self._scan

    def _coefficients(self, image: torch.Tensor) -> dict[tuple[int, int], np.ndarray]:
        """Coefficients by level and gate, from 1, on the image's grid (X, Y, Z); of gates with several channels the mean of these."""
        module = cast("AttentionUnet", unwrapped(self.network))
        training = module.training
        module.eval()
        try:
            with torch.no_grad():
                _, maps = module.attention(image.to(self.device))
        finally:
            module.train(training)
        found: dict[tuple[int, int], np.ndarray] = {}
        for level, both in maps.items():
            gates = both.resampled[0].float().cpu().unflatten(0, (module.num_gates, -1)).mean(dim=1).numpy()
            found |= {(level, number): gate for number, gate in enumerate(gates, start=1)}
        return found
