"""Values of a label file -> channel indices of the network."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import convert_to_tensor

from bundle import labels as label_block
from bundle.errors import UserError
from bundle.labels import SETS


class MapLabels(Transform):
    """Turn the values of a label map into the network's channel indices, by the `labels` block of the config.

    Shapes: any; the result is uint8 with the metadata of the input. MONAI's `MapLabelValue` loops over pairs of one
    value each, keeps values it does not know, and holds the result in int64: here a list of values is one
    channel, and a value that `labels` does not name is an error instead of a class without a channel.

    Args:
        labels: the `labels` block, structure name to value or list of values (see `bundle.labels`).
        unlisted: "error" raises for values that are not in `labels`; "background" maps them to channel 0, for
            training on some of the structures that a data set has.
        may_be: values that leave open what a voxel is: value to the structures that it may be, beside background. They become
            the values of `bundle.labels.one_of`, for `bundle.losses.PartialLabelLoss`.

    A call may say which structures the label map has. Its background, also where it is one of several by `may_be`, may then be any of
    the others.

    Raises:
        UserError: `may_be` names a structure that `labels` has not, or a value that it has.
        UserError: a value is not a whole number (0.001 off at most), or is not in `labels` while `unlisted` is "error".
    """

    def __init__(
        self, labels: label_block.Labels, *, unlisted: str = "error", may_be: Mapping[str | int, Sequence[str]] | None = None
    ) -> None:
        if unlisted not in ("error", "background"):
            raise UserError("unlisted_labels", f"{unlisted!r} is not a choice", "use error or background")
        self.unlisted = unlisted
        self.values = label_block.values(labels)
        self.names = label_block.names(labels)
        # one look-up per voxel: index = value in the file, entry = channel; -1 marks values nobody named
        self.table = np.full(256, 0 if unlisted == "background" else -1, dtype=np.int16)
        for channel, values in enumerate(self.values):
            self.table[values] = channel
        for value, structures in (may_be or {}).items():
            self.table[int(value)] = _left_open(int(value), structures, labels)

    def __call__(self, label: torch.Tensor | np.ndarray, where: str = "label", labelled: Sequence[str] | None = None) -> torch.Tensor:
        """Map one label map of any shape; `where` names it in errors, `labelled` are the structures that it has (None: all)."""
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
        if labelled is not None:
            others = label_block.unlabelled(labelled, self.names, where)
            # what may be background, beside others, may be these too
            out[(out == 0) | (out >= SETS)] |= others
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


class CloseLabelsd(MapTransform):
    """Makes background of voxels that leave open what they are (`bundle.labels.one_of`), for metrics, which know classes alone.

    A structure that a label map leaves out then has no voxel in it, and MONAI's `MeanDice` leaves it out of its mean.

    Args:
        keys: label maps of `MapLabelsd`, any shape.
        labels: the `labels` block. With more structures than 127 nothing can be left open, and nothing changes.
    """

    def __init__(self, keys: KeysCollection, labels: label_block.Labels) -> None:
        super().__init__(keys)
        self.has_sets = len(labels) <= SETS

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Change every key of `keys`, in a copy; shapes and metadata stay."""
        out = dict(data)
        for key in self.key_iterator(out) if self.has_sets else ():
            is_open = out[key] >= SETS
            out[key] = torch.where(is_open, torch.zeros_like(out[key]), out[key])
        return out


def _left_open(value: int, structures: Sequence[str], labels: label_block.Labels) -> int:
    if any(value in values for values in label_block.values(labels)):
        raise UserError("may_be", f"{value} is a value of the `labels` block", "use a value that no structure has, such as 255")
    return label_block.left_open(structures, label_block.names(labels), "may_be")


class MapLabelsd(MapTransform):
    """Dictionary version of `MapLabels`: `keys` are mapped in place. Arguments and errors as there.

    A case's own `labelled` says which structures its label map has; it is gone afterwards.
    """

    def __init__(
        self,
        keys: KeysCollection,
        labels: label_block.Labels,
        *,
        unlisted: str = "error",
        may_be: Mapping[str | int, Sequence[str]] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.map_labels = MapLabels(labels, unlisted=unlisted, may_be=may_be)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Map every key of `keys`; the file's name, where the metadata has it, names it in errors."""
        out = dict(data)
        labelled = out.pop("labelled", None)
        for key in self.key_iterator(out):
            meta = getattr(out[key], "meta", {})
            out[key] = self.map_labels(out[key], where=str(meta.get("filename_or_obj", key)), labelled=labelled)
        return out
