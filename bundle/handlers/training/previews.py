"""Pictures of what the network finds, while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from bundle import labels as label_block

if TYPE_CHECKING:
    from PIL import Image


class ValidationPreviews:
    """Writes a PNG per validation: the first cases in three planes, reference above prediction, misses and additions marked.

    The planes go through the organs of the reference; the legend has each structure's Dice. The same picture goes to
    TensorBoard as an image where a writer is given. MONAI's `TensorBoardImageHandler` shows animated volumes, image and
    labels apart.

    Args:
        folder: files are `epoch_<number>.png`.
        labels: the `labels` block; the channels' names are in the legend.
        cases: how many of the validation cases to show.
        spacing: mm from one voxel to the next, of images that do not know their affine, as those of the cache.
        writer: `torch.utils.tensorboard.SummaryWriter` or None.
        tag: name of the image in TensorBoard.
    """

    def __init__(
        self,
        folder: str,
        labels: label_block.Labels,
        *,
        cases: int = 2,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        writer: Any = None,
        tag: str = "validation",
    ) -> None:
        self.affine = np.diag([*(float(edge) for edge in spacing), 1.0])
        self.folder, self.cases, self.writer, self.tag = Path(folder), cases, writer, tag
        self.channels = {name: channel for channel, name in enumerate(label_block.names(labels))}
        self._pictures: list[Image.Image] = []

    def attach(self, engine: Engine) -> None:
        """Draw on rank 0, attached to the evaluator."""
        if idist.get_rank() != 0 or self.cases < 1:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.draw)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def clear(self, engine: Engine) -> None:
        """Forget the cases of the last validation."""
        self._pictures = []

    def draw(self, engine: Engine) -> None:
        """Draw the cases of one iteration; `pred` and `label` are maps of channel indices (1, X, Y, Z)."""
        from bundle.pictures.comparison import comparison_picture

        output: Any = engine.state.output  # a whole number to Ignite, a list of dictionaries from MONAI's engines
        for item in output:
            if len(self._pictures) >= self.cases:
                return
            image, label, found = (torch.as_tensor(item[key])[0].float().cpu().numpy() for key in ("image", "label", "pred"))
            affine = getattr(item["image"], "affine", None)
            affine = self.affine if affine is None else np.asarray(affine, dtype=np.float64)
            prediction, reference = (np.rint(volume).astype(np.uint8) for volume in (found, label))
            title = f"validation case {len(self._pictures) + 1}, epoch {engine.state.epoch}"
            self._pictures.append(comparison_picture(image, prediction, reference, affine, self.channels, title=title))

    def write(self, engine: Engine) -> None:
        """Write the picture of this validation."""
        if not self._pictures:
            return
        from bundle.drawing.drawing import save, stack

        picture = stack(self._pictures)
        save(picture, self.folder / f"epoch_{engine.state.epoch:04d}.png")
        if self.writer is not None:
            self.writer.add_image(self.tag, np.asarray(picture), engine.state.epoch, dataformats="HWC")
