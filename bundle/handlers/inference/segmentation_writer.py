"""Label maps, probabilities and attention maps of a case, as compressed NIfTI; label maps also as 3D Slicer saves them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from bundle import labels as label_block
from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError
from bundle.files import write_text
from bundle.images import label_names
from bundle.images.forms import Forms
from bundle.images.writing import write_nifti
from bundle.results import outputs
from bundle.structures import describe
from bundle.transforms.restore_labels import restore_bytes


class SegmentationWriter(CaseHandler):
    """Writes `<case>_seg.nii.gz` or `<case>.seg.nrrd` on the source's own grid, uint8; on request probabilities and attention maps.

    MONAI's `SaveImaged` writes to the final name, so that a killed run leaves half a file, and names files after the source,
    so that two sources of one name overwrite each other. Here files appear only when all of the case are whole.

    Args:
        output_dir: where to write.
        probabilities: also write `<case>_probabilities.nii.gz`: X, Y, Z, class, in steps of 1/255, on the network's grid.
        labels: the `labels` block, name to value: label maps carry the names, and `labels.txt` (ITK-SNAP) and `labels.ctbl` (3D Slicer)
            are written next to them. None: no names.
        structures: what the user says of structures (`bundle.structures.describe`).
        format: of the label map, "nii.gz" or "seg.nrrd".

    Raises:
        UserError: the format or the structures cannot be used.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        probabilities: bool = False,
        labels: label_block.Labels | None = None,
        structures: Mapping[str, Any] | str | os.PathLike | None = None,
        format: str = "nii.gz",
    ) -> None:
        self.output_dir, self.probabilities = Path(output_dir).expanduser(), probabilities
        if format not in outputs.LABEL_MAP_ENDINGS:
            raise UserError("format", f"is {format!r}", f"use {' or '.join(outputs.LABEL_MAP_ENDINGS)}")
        self.format = format
        names, values = (label_block.names(labels)[1:], label_block.output_values(labels)[1:]) if labels else ([], [])
        self.structures = list(zip(values, describe(names, structures), strict=True))

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict]) -> None:
        """Make the output folder, and the tables of names and colours."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        if self.structures:
            write_text(self.output_dir / outputs.LABEL_NAMES, label_names.snap_table(self.structures))
            write_text(self.output_dir / outputs.COLOUR_TABLE, label_names.slicer_table(self.structures))

    def predicted(self, case: Case) -> None:
        """Keep the probabilities, which the label map takes the place of."""
        if self.probabilities:
            logits = case.data["pred"]
            case.extra["probabilities"] = [p.mul(255).round_().to(torch.uint8).numpy() for p in logits.as_tensor().softmax(0)]

    def completed(self, case: Case) -> None:
        """Write the case's files, which take their places together."""
        image = case.data["image"]
        for level, maps in case.attention.items():
            write_attention(self.output_dir, case, level, (restore_bytes(one, image) for one in maps), count=len(maps))
        if "probabilities" in case.extra:
            volumes, path = case.extra["probabilities"], self.output_dir / outputs.probabilities(case.name)
            write_nifti(path, volumes, np.asarray(image.affine), count=len(volumes), scaled=True, aside=case.staged.written)
        labels, path = case.label_map(), self.output_dir / outputs.label_map(case.name, self.format)
        values, affine = np.asarray(labels.as_tensor()[0]), np.asarray(labels.affine, dtype=np.float64)
        if self.format == "seg.nrrd":
            with case.staged.written(path) as aside:
                label_names.save_seg_nrrd(aside, values, affine, self.structures)
        else:
            table = label_names.nifti_table(self.structures) if self.structures else b""
            write_nifti(path, values, affine, forms=_forms(image), table=table, aside=case.staged.written)


def write_attention(folder: Path, case: Case, level: int, values: np.ndarray | Iterable[np.ndarray], count: int = 1) -> None:
    """Write the coefficients of a level's gates aside, to take their place with the case's other files.

    Args:
        folder: of the results.
        case: with its preprocessed image, whose source grid the file gets.
        level: of the gates.
        values: (X, Y, Z) uint8 on the grid of the scan, 255 for 1; or `count` of these, a gate each.
        count: how many volumes the file has.
    """
    image = case.data["image"]
    path, affine = folder / outputs.attention_level(case.name, level), np.asarray(image.meta["original_affine"], dtype=np.float64)
    write_nifti(path, values, affine, count=count, forms=_forms(image), scaled=True, aside=case.staged.written)


def _forms(image: MetaTensor) -> Forms | None:
    """qform and sform of the NIfTI that the scan came as, so that what is written is on it in every tool."""
    return Forms.from_numbers(image.meta.get("nifti_forms", ()))
