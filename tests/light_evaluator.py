"""An evaluator without a network to speak of: voxels above 100 are spleen. Each case takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd

from bundle.data.load_scan import LoadScand
from bundle.data.scans import find_scans
from bundle.engines import CaseHandler, ScanEvaluator
from bundle.handlers.inference.case_reports import CaseReports
from bundle.handlers.inference.run_record import RunRecord
from bundle.handlers.inference.segmentation_writer import SegmentationWriter

LABELS = {"background": 0, "spleen": 1}


def scan(path: Path, spleen: int = 4, seed: int = 0) -> Path:
    """A scan of 10x9x8 voxels of 2 mm, uncompressed, whose spleen has `spleen` voxels; all have the same size in bytes."""
    values = np.random.default_rng(seed).integers(-50, 50, 720).astype(np.int16)
    values[:spleen] = 150
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.reshape(10, 9, 8), np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


def scans(folder: Path, names: Sequence[str]) -> Path:
    """A scan of each name, whose spleens have 3 voxels, 4, 5 and so on; gives the folder."""
    for number, name in enumerate(names):
        scan(folder / f"{name}.nii", 3 + number)
    return folder


def spleen_voxels(path: Path) -> int:
    """Voxels of the spleen in a label map."""
    return int((np.asarray(nibabel.load(path).dataobj) == 1).sum())


def logits(volume: torch.Tensor, network: object) -> torch.Tensor:
    """(1, 2, X, Y, Z): spleen where the volume is above 100."""
    return torch.cat([100 - volume, volume - 100], 1).float()


def label_map(data: dict) -> dict:
    """Channel indices (1, X, Y, Z), uint8, in place of the logits."""
    labels = data["pred"].argmax(0, keepdim=True).to(torch.uint8)
    return {**data, "pred": MetaTensor(labels, affine=data["image"].affine)}


def evaluator(
    data: Path,
    out: Path,
    *more: CaseHandler,
    weights: Path | None = None,
    settings: dict | None = None,
    options: dict | None = None,
    overwrite: bool = False,
    inferer: Callable = logits,
    items: Sequence[dict] | None = None,
    memory_gb: float | None = None,
) -> ScanEvaluator:
    """The engine with the bundle's own handlers, and `more` behind them."""
    record = RunRecord(out, settings or {"labels": LABELS}, weights, options, overwrite=overwrite)
    reports = CaseReports(out, LABELS, previews=bool((options or {}).get("previews")))
    found = find_scans(data, leave_out=out) if items is None else items
    return ScanEvaluator(
        device="cpu",
        dataset=Dataset(found, Compose([LoadScand("image"), EnsureChannelFirstd("image")])),
        network=torch.nn.Identity(),
        inferer=inferer,
        postprocessing=label_map,
        val_handlers=[record, SegmentationWriter(out), reports, *more],
        memory_gb=memory_gb,
    )
