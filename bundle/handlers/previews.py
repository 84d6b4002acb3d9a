"""Pictures of what the network finds, while it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from bundle.handlers.checkpoint import replace_with

# one colour per structure, told apart by colour-blind readers as well (Okabe and Ito); repeated after eight
COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 114, 178), (255, 255, 255)], np.uint8
)


class ValidationPreviews:
    """Writes a PNG per validation: axial, coronal and sagittal cuts of the first cases, reference beside prediction.

    Each case is a row: three cuts with the reference's outlines, the same three with the prediction's, through the middle of the
    smallest structure that the reference has. The same picture goes to TensorBoard as an image where a writer is given.
    MONAI's `TensorBoardImageHandler` shows animated volumes, image and labels apart.

    Args:
        folder: files are `epoch_<number>.png`.
        cases: how many of the validation cases to show.
        writer: `torch.utils.tensorboard.SummaryWriter` or None.
        tag: name of the image in TensorBoard.
    """

    def __init__(self, folder: str, *, cases: int = 2, writer: Any = None, tag: str = "validation") -> None:
        self.folder, self.cases, self.writer, self.tag = Path(folder), cases, writer, tag
        self._rows: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Draw on rank 0, attached to the evaluator."""
        if idist.get_rank() != 0 or self.cases < 1:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.draw)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def clear(self, engine: Engine) -> None:
        """Forget the rows of the last validation."""
        self._rows = []

    def draw(self, engine: Engine) -> None:
        """Draw the cases of one iteration; `pred` and `label` are label maps (1, X, Y, Z)."""
        for item in engine.state.output:
            if len(self._rows) < self.cases:
                arrays = [torch.as_tensor(item[key])[0].float().cpu().numpy() for key in ("image", "label", "pred")]
                self._rows.append(case_row(*arrays))

    def write(self, engine: Engine) -> None:
        """Write the picture of this validation."""
        if not self._rows:
            return
        from PIL import Image

        width = max(row.shape[1] for row in self._rows)
        picture = np.concatenate([_pad(row, row.shape[0], width) for row in self._rows])
        replace_with(self.folder / f"epoch_{engine.state.epoch:04d}.png", lambda aside: Image.fromarray(picture).save(aside, format="PNG"))
        if self.writer is not None:
            self.writer.add_image(self.tag, picture, engine.state.epoch, dataformats="HWC")


def case_row(image: np.ndarray, reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """RGB row of six cuts, three with the reference's outlines and three with the prediction's.

    Args:
        image: (X, Y, Z) in RAS, any scale.
        reference, prediction: (X, Y, Z) channel indices.

    Returns:
        (height, width, 3) uint8.
    """
    low, high = np.percentile(image, (1, 99.5))
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1)
    centre = _middle(reference if reference.any() else prediction)
    cuts = [_cut(grey, labels, axis, centre[axis]) for labels in (reference, prediction) for axis in (2, 1, 0)]
    height = max(cut.shape[0] for cut in cuts)
    return np.concatenate([_pad(cut, height + 2, cut.shape[1] + 2) for cut in cuts], axis=1)


def _cut(grey: np.ndarray, labels: np.ndarray, axis: int, index: int) -> np.ndarray:
    """One cut as a radiologist sees it: patient's right on the left, anterior or superior at the top."""
    plane, marks = (np.take(volume, index, axis=axis) for volume in (grey, labels))
    # RAS: the first axis of the plane runs right to left of the picture, the second upwards
    plane, marks = plane[::-1].T[::-1], marks[::-1].T[::-1].astype(int)
    inner = np.zeros(marks.shape, bool)
    inner[1:-1, 1:-1] = np.logical_and.reduce([marks[1:-1, 1:-1] == marks[y, x] for y, x in _NEIGHBOURS])
    rgb = np.repeat((plane * 255).astype(np.uint8)[..., None], 3, axis=2)
    outline = (marks > 0) & ~inner
    rgb[outline] = COLOURS[(marks[outline] - 1) % len(COLOURS)]
    return rgb


_NEIGHBOURS = [(slice(0, -2), slice(1, -1)), (slice(2, None), slice(1, -1)), (slice(1, -1), slice(0, -2)), (slice(1, -1), slice(2, None))]


def _middle(labels: np.ndarray) -> list[int]:
    """Voxel of the smallest structure that is nearest to its centre of mass; the volume's middle where there is none."""
    values, counts = np.unique(labels[labels > 0], return_counts=True)
    if not len(values):
        return [size // 2 for size in labels.shape]
    places = np.argwhere(labels == values[np.argmin(counts)])
    return [int(c) for c in places[np.argmin(((places - places.mean(0)) ** 2).sum(1))]]


def _pad(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)))
