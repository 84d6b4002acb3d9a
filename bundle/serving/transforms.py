"""What the server gets besides the label map: the quality record in its answer, and probabilities for uncertainty scoring."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform

from bundle import labels as label_block
from bundle.transforms.keep_pieces import left_out
from bundle.transforms.shape_prior import NOTES

if TYPE_CHECKING:
    from bundle.inferers.confidence import Confidence

CONFIDENCE = "structure_confidence"
# MONAI Label sends what is under this key back with the label map
RESULT = "result"


class NoteConfidenced(MapTransform):
    """Notes how sure the network is of each structure, while the logits are there: before they become a label map.

    Args:
        keys: logits (K, X, Y, Z).
        labels: the `labels` block, whose order is that of the channels.
        calibrate: changes the expected Dice, such as `bundle.inferers.calibration.Calibration`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: label_block.Labels,
        calibrate: Callable[[Sequence[Confidence | None]], list[Confidence | None]] | None = None,
    ) -> None:
        super().__init__(keys)
        self.calibrate = calibrate
        self.names = label_block.names(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add `structure_confidence`: name to `bundle.inferers.confidence.Confidence`, for those that were found."""
        from bundle.inferers.confidence import confidence

        d = dict(data)
        for key in self.key_iterator(d):
            sure = confidence(d[key])
            by_name = zip(self.names[1:], (self.calibrate(sure) if self.calibrate else sure)[1:], strict=True)
            d[CONFIDENCE] = {name: found for name, found in by_name if found}
        return d


class QualityRecordd(MapTransform):
    """Puts the quality record of a case, as `cases.csv` has it, into the answer of MONAI Label's server.

    The answer then holds, besides the label map, `score` (1 nothing against it, 0 surely wrong), `review`, `reasons` in words,
    and for each structure `volume_ml`, `mean_hu` and `confidence`. The server writes one label map and this; it has no place
    for a second image. The scan is read again from its file, because the preprocessed one is cropped, resampled and normalised.

    Args:
        keys: label maps (1, X, Y, Z) on the source's grid, `MetaTensor`s that know the file of the scan.
        labels: the `labels` block.
        reference_ranges: file of what is usual (verb `ranges`); None: the literature's.
    """

    def __init__(self, keys: KeysCollection, labels: label_block.Labels, reference_ranges: str | None = None) -> None:
        super().__init__(keys)
        self.reference_ranges = reference_ranges
        names, values = label_block.names(labels), label_block.output_values(labels)
        self.structures = dict(zip(names[1:], values[1:], strict=True))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add `result`; what other transforms put there stays. Logits and probabilities pass unchanged."""
        d = dict(data)
        for key in self.key_iterator(d):
            if not d[key].is_floating_point():
                d[RESULT] = {**(d.get(RESULT) or {}), **self._record(d[key], d.get(CONFIDENCE))}
        return d

    def _record(self, labels: MetaTensor, confidence: Mapping[str, Any] | None) -> dict[str, Any]:
        from bundle.data.load_scan import LoadScand
        from bundle.quality.cases import CaseResult
        from bundle.quality.ranges import load_ranges

        source = str(labels.meta["filename_or_obj"])
        scan = LoadScand("image")({"image": source})["image"]
        result = CaseResult(
            name=source,
            source=source,
            image=np.asarray(scan.as_tensor()),
            labels=labels.as_tensor()[0].numpy(),
            affine=np.asarray(labels.affine, dtype=np.float64),
            structures=self.structures,
            confidence=confidence,
            left_out=left_out(labels, self.structures),
            reference_ranges=load_ranges(self.reference_ranges),
            orientation_known=bool(scan.meta.get("orientation_known", True)),
            not_numbers=int(scan.meta.get("not_numbers", 0)),
            notes=labels.meta.get(NOTES, []),
        )
        structures = {name: {"volume_ml": round(float(one.volume_ml), 3), "mean_hu": one.mean_hu} for name, one in result.measured.items()}
        for name, entry in structures.items():
            certain = (confidence or {}).get(name)
            entry["mean_hu"] = None if entry["mean_hu"] is None else round(float(entry["mean_hu"]), 1)
            entry["confidence"] = None if certain is None else round(float(certain[0]), 4)
        judgement = result.judgement
        return {"score": round(judgement.score, 4), "review": judgement.review, "reasons": judgement.reasons, "structures": structures}


class ProbabilitiesForScoringd(MapTransform):
    """Where MONAI Label scores uncertainty, makes probabilities of what is still logits; label maps pass unchanged.

    For scoring the server leaves out every `Invertd`, `RestoreLabelsd` among them, and takes the entropy of what is left,
    as if it were probabilities. It would also resize all classes to the scan's full size first (4 GB for an ordinary
    abdomen and five samples), which changes nothing in a mean: the scan is given to it in the size of the network's grid.

    Args:
        keys: logits (K, X, Y, Z) or label maps.
        source_key: the preprocessed image, a `MetaTensor`.
    """

    def __init__(self, keys: KeysCollection, source_key: str = "image") -> None:
        super().__init__(keys)
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Softmax over the channels of floating point values with more than one channel."""
        d = dict(data)
        for key in self.key_iterator(d):
            if d[key].is_floating_point() and d[key].shape[0] > 1:
                logits = d[key].as_tensor() if isinstance(d[key], MetaTensor) else d[key]
                # the server calls np.sum on it, which numpy 1.26 refuses for a plain tensor
                d[key] = MetaTensor(torch.softmax(logits.float(), 0))
                if isinstance(d[self.source_key], MetaTensor):
                    d[self.source_key].meta["spatial_shape"] = list(d[key].shape[1:])
        return d
