"""Values of a label file -> channel indices of the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor

from bundle import labels as label_block
from bundle.errors import UserError


class MapLabels(Transform):
    """Turn the values of a label map into the network's channel indices, by the `labels` block of the config.

    Shapes: any; the result is uint8 with the metadata of the input. MONAI's `MapLabelValue` loops over pairs of one
    value each, keeps values it does not know, and holds the result in int64: here a list of values is one
    channel, and a value that `labels` does not name is an error instead of a class without a channel.

    Args:
        labels: the `labels` block, structure name to value or list of values (see `bundle.labels`).
        unlisted: "error" raises for values that are not in `labels`; "background" maps them to channel 0, for
            training on some of the structures that a data set has.

    Raises:
        UserError: a value is not a whole number (0.001 off at most), or is not in `labels` while `unlisted` is "error".
    """

    def __init__(self, labels: label_block.Labels, *, unlisted: str = "error") -> None:
        if unlisted not in ("error", "background"):
            raise UserError("unlisted_labels", f"{unlisted!r} is not a choice", "use error or background")
        self.unlisted = unlisted
        self.values = label_block.values(labels)
        # one look-up per voxel: index = value in the file, entry = channel; -1 marks values nobody named
        self.table = np.full(256, 0 if unlisted == "background" else -1, dtype=np.int16)
        for channel, values in enumerate(self.values):
            self.table[values] = channel

    def __call__(self, label: torch.Tensor | np.ndarray, where: str = "label") -> torch.Tensor:
        """Map one label map of any shape; `where` names it in errors."""
        tensor = convert_to_tensor(label, track_meta=isinstance(label, MetaTensor))
        flat = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
        whole = flat.round()
        if flat.is_floating_point():
            near = (flat - whole).abs() <= label_block.TOLERANCE
            if not bool(near.all()):
                problem = f"the label map holds values that are not whole numbers (such as {float(flat[~near][0]):.9g})"
                raise UserError(where, problem, "resample label maps with nearest neighbours")
        inside = (whole >= 0) & (whole <= 255)
        if not bool(inside.all()) and self.unlisted == "error":
            self._refuse(where, whole[~inside])
        index = torch.where(inside, whole, torch.zeros_like(whole)).to(torch.uint8)
        channels = torch.as_tensor(self.table)[index.to(torch.int64)] if self.unlisted == "background" else self._look_up(index, where)
        out = torch.where(inside, channels, torch.zeros_like(channels)).to(torch.uint8)
        return MetaTensor(out, meta=tensor.meta, applied_operations=tensor.applied_operations) if isinstance(tensor, MetaTensor) else out

    def _look_up(self, index: torch.Tensor, where: str) -> torch.Tensor:
        channels = torch.as_tensor(self.table)[index.to(torch.int64)]
        if bool((channels < 0).any()):
            self._refuse(where, index[channels < 0])
        return channels

    def _refuse(self, where: str, values: torch.Tensor) -> None:
        found = sorted({int(value) for value in torch.unique(values)})
        known = sorted(value for channel in self.values for value in channel)
        fix = "name them in the `labels` block, or set unlisted_labels to 'background' to train without them"
        raise UserError(where, f"the label map holds {found[:10]}, `labels` names only {known}", fix)


class MapLabelsd(MapTransform):
    """Dictionary version of `MapLabels`: `keys` are mapped in place. Arguments and errors as there."""

    def __init__(
        self, keys: KeysCollection, labels: label_block.Labels, *, unlisted: str = "error", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.map_labels = MapLabels(labels, unlisted=unlisted)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Map every key of `keys`; the file's name, where the metadata has it, names it in errors."""
        out = dict(data)
        for key in self.key_iterator(out):
            meta = getattr(out[key], "meta", {})
            out[key] = self.map_labels(out[key], where=str(meta.get("filename_or_obj", key)))
        return out
