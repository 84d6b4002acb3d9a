"""Label maps, probabilities and attention maps of a case, as compressed NIfTI."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch

from bundle import outputs
from bundle.inferers.case import Case
from bundle.inferers.evaluator import CaseHandler, ScanEvaluator
from bundle.transforms.restore_labels import restore_bytes

# level 1 takes a tenth of the time of gzip's default, and label maps are small anyway
COMPRESSION = 1


class SegmentationWriter(CaseHandler):
    """Writes `<case>_seg.nii.gz` on the source's own grid, uint8; on request probabilities and attention maps.

    MONAI's `SaveImaged` writes to the final name, so that a killed run leaves half a file, and names files after the source,
    so that two sources of one name overwrite each other. Here files appear only when all of the case are whole.

    Args:
        output_dir: where to write.
        probabilities: also write `<case>_probabilities.nii.gz`: X, Y, Z, class, in steps of 1/255, on the network's grid.
    """

    def __init__(self, output_dir: str | os.PathLike, probabilities: bool = False) -> None:
        self.output_dir, self.probabilities = Path(output_dir), probabilities

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
            self._write(case, name, volumes, image.meta["original_affine"], count=len(maps), scaled=True)
        if "probabilities" in case.extra:
            volumes = case.extra["probabilities"]
            self._write(case, outputs.probabilities(case.name), volumes, image.affine, count=len(volumes), scaled=True)
        labels = case.data["pred"]
        self._write(case, outputs.label_map(case.name), [np.asarray(labels.as_tensor()[0])], labels.affine, scaled=False)

    def _write(self, case: Case, name: str, volumes: Iterable[np.ndarray], affine: np.ndarray, *, count: int = 1, scaled: bool) -> None:
        with case.staged.written(self.output_dir / name) as aside:
            write_nifti(aside, volumes, np.asarray(affine, dtype=np.float64), count=count, scaled=scaled)


def write_nifti(
    path: str | os.PathLike, volumes: Iterable[np.ndarray], affine: np.ndarray, *, count: int = 1, scaled: bool = False
) -> None:
    """Write uint8 volumes (X, Y, Z), one after the other, as one compressed NIfTI; only one need be in memory at a time.

    Args:
        path: file to write.
        volumes: `count` arrays of one shape.
        affine: (4, 4), voxel indices to mm, RAS+.
        count: how many there are; several make a fourth axis.
        scaled: the values stand for multiples of 1/255.
    """
    volumes = iter(volumes)
    volume = next(volumes)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(volume.shape if count == 1 else (*volume.shape, count))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    # a qform cannot shear: readers that prefer it must not be misled
    header.set_qform(affine, code="scanner" if _has_right_angles(affine) else "unknown")
    header.set_slope_inter(1 / 255 if scaled else 1, 0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    # no time and no name in the file: the same labels give the same bytes
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) as file:
        file.write(header.binaryblock + bytes(4))
        while volume is not None:
            for slab in np.array_split(volume.T, max(1, volume.shape[2] // 16)):
                file.write(np.ascontiguousarray(slab))
            volume = next(volumes, None)


def _has_right_angles(affine: np.ndarray) -> bool:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
