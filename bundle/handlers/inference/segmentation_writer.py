"""Label maps, probabilities and attention maps of a case, as compressed NIfTI."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from bundle.engines.case import Case
from bundle.engines.evaluator import CaseHandler, ScanEvaluator
from bundle.images.forms import Forms
from bundle.images.writing import save_nifti
from bundle.results import outputs
from bundle.transforms.restore_labels import restore_bytes


class SegmentationWriter(CaseHandler):
    """Writes `<case>_seg.nii.gz` on the source's own grid, uint8; on request probabilities and attention maps.

    MONAI's `SaveImaged` writes to the final name, so that a killed run leaves half a file, and names files after the source,
    so that two sources of one name overwrite each other. Here files appear only when all of the case are whole.

    Args:
        output_dir: where to write.
        probabilities: also write `<case>_probabilities.nii.gz`: X, Y, Z, class, in steps of 1/255, on the network's grid.
    """

    def __init__(self, output_dir: str | os.PathLike, probabilities: bool = False) -> None:
        self.output_dir, self.probabilities = Path(output_dir).expanduser(), probabilities

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict]) -> None:
        """Make the output folder."""
        self.output_dir.mkdir(parents=True, exist_ok=True)

    def predicted(self, case: Case) -> None:
        """Keep the probabilities, which the label map takes the place of."""
        if self.probabilities:
            logits = case.data["pred"]
            case.extra["probabilities"] = [p.mul(255).round_().to(torch.uint8).numpy() for p in logits.as_tensor().softmax(0)]

    def completed(self, case: Case) -> None:
        """Write the case's files, which take their places together."""
        image = case.data["image"]
        for level, maps in case.attention.items():
            volumes = (restore_bytes(one, image) for one in maps)
            name = outputs.attention_level(case.name, level)
            self._write(case, name, volumes, image.meta["original_affine"], count=len(maps), forms=_forms(image), scaled=True)
        if "probabilities" in case.extra:
            volumes = case.extra["probabilities"]
            self._write(case, outputs.probabilities(case.name), volumes, image.affine, count=len(volumes), scaled=True)
        labels = case.data["pred"]
        self._write(case, outputs.label_map(case.name), [np.asarray(labels.as_tensor()[0])], labels.affine, forms=_forms(image))

    def _write(
        self,
        case: Case,
        name: str,
        volumes: Iterable[np.ndarray],
        affine: np.ndarray,
        *,
        count: int = 1,
        forms: Forms | None = None,
        scaled: bool = False,
    ) -> None:
        with case.staged.written(self.output_dir / name) as aside:
            save_nifti(aside, volumes, np.asarray(affine, dtype=np.float64), count=count, forms=forms, scaled=scaled)


def _forms(image: MetaTensor) -> Forms | None:
    """qform and sform of the NIfTI that the scan came as, so that what is written lies on it in every tool."""
    return Forms.from_numbers(image.meta.get("nifti_forms", ()))
