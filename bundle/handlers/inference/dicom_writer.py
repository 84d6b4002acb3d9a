"""Label maps of DICOM series as DICOM: SEG for archives and viewers, RTSTRUCT for planning."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import bundle
from bundle import labels as label_block
from bundle.dicom import looks_like_dicom
from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError
from bundle.images.names import kind
from bundle.results import outputs
from bundle.structures import describe

logger = logging.getLogger("bundle.inference")

KINDS = ("binary", "labelmap")


class DicomWriter(CaseHandler):
    """Writes `<case>_seg.dcm` and `<case>_rtstruct.dcm` of scans that came as DICOM series; others have none.

    Off, it does and imports nothing. A case whose object cannot be made fails: what was asked for is not there.

    Args:
        output_dir: where to write.
        labels: the `labels` block, name to value.
        structures: what the user says of structures (`bundle.structures.describe`).
        weights: the file of the weights; the start of its digest is in the objects.
        dicom_seg: write DICOM SEG; needs highdicom (extra `dicom`).
        dicom_seg_type: "binary", or "labelmap" (DICOM 2024d).
        rtstruct: write RTSTRUCT.

    Raises:
        UserError: highdicom is not installed, or the type is not one of the two.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        labels: label_block.Labels,
        structures: Mapping[str, Any] | str | os.PathLike | None = None,
        weights: str | os.PathLike | None = None,
        dicom_seg: bool = False,
        dicom_seg_type: str = "binary",
        rtstruct: bool = False,
    ) -> None:
        self.output_dir, self.weights = Path(output_dir).expanduser(), weights
        self.dicom_seg, self.kind, self.rtstruct = bool(dicom_seg), dicom_seg_type, bool(rtstruct)
        if dicom_seg_type not in KINDS:
            raise UserError("dicom_seg_type", f"is {dicom_seg_type!r}", f"use {' or '.join(KINDS)}")
        if self.dicom_seg:
            from bundle.dicom.segmentation import check_available

            check_available()
        names = label_block.names(labels)[1:]
        self.structures = list(zip(label_block.output_values(labels)[1:], describe(names, structures), strict=True))
        self.maker: Any = None

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Say which structures have no code, and that there is nothing to do where no scan is DICOM."""
        if not (self.dicom_seg or self.rtstruct):
            return
        if items and not any(_is_series(item["image"]) for item in items):
            asked = " and ".join(name for name, on in (("dicom_seg", self.dicom_seg), ("rtstruct", self.rtstruct)) if on)
            logger.warning("%s: no scan here is a DICOM series, and other scans have none", asked)
        unknown = [structure.name for _, structure in self.structures if not structure.known]
        if unknown:
            logger.warning("no code is known of %s: written as tissue; --structures can give one", ", ".join(unknown))

    def completed(self, case: Case) -> None:
        """Write the objects of a case that came as DICOM, to take their places with its other files."""
        if not (self.dicom_seg or self.rtstruct):
            return
        image = case.item["image"]
        if not _is_series(image):
            return
        files = [image] if isinstance(image, (str, os.PathLike)) else list(image)
        from bundle.dicom.source import read_source

        labels = np.asarray(case.label_map().as_tensor()[0])
        source = read_source(files, labels.shape, " ".join(structure.words for _, structure in self.structures))
        made = source, labels, self.structures, self._maker()
        if self.dicom_seg:
            from bundle.dicom.segmentation import write_segmentation

            with case.staged.written(self.output_dir / outputs.dicom_seg(case.name)) as aside:
                write_segmentation(aside, *made, self.kind)
        if self.rtstruct:
            from bundle.dicom.structure_set import write_structure_set

            with case.staged.written(self.output_dir / outputs.rtstruct(case.name)) as aside:
                write_structure_set(aside, *made)

    def _maker(self) -> Any:
        """Version and weights; the digest is that of `run.json`, and taken once."""
        if self.maker is None:
            from bundle.dicom.maker import Maker
            from bundle.networks.weights import weights_digest

            self.maker = Maker(bundle.__version__, (weights_digest(self.weights) or "")[:12])
        return self.maker


def _is_series(image: str | os.PathLike | Sequence[str | os.PathLike]) -> bool:
    """Whether a scan is DICOM: slices, or a file of many frames."""
    first = image if isinstance(image, (str, os.PathLike)) else image[0]
    return kind(first) in ("", "dicom") and looks_like_dicom(first)
