"""Whether a recorded result is what this run would make: of the same content, weights, labels and settings, with the files asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.labels import Labels
from bundle.networks.ensemble import Ensemble
from bundle.networks.zoomed import Zoomed
from bundle.results import identity, outputs
from bundle.results.records import Entry, own_files
from bundle.structures import own_codes, own_colours

# what an inferer asks a network for, and how it goes about it; results do not depend on it
NOT_THE_RESULT = ("training", "bytes_per_voxel", "checkpointing", "multiple", "own_finest_level", "plain_blocks")
# what a result has that does not say it, such as one of an earlier version; of all other details None
USUAL = {"dicom_seg_type": "binary"}


class Wanted:
    """What this run makes results of.

    Args:
        folder: of the results.
        settings: what results depend on, name to value.
        options: names of the further files that are asked for.
        format: of the label maps, one of `outputs.LABEL_MAP_ENDINGS`.
        details: what files of this run depend on besides, name to value (`details`).
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        options: list[str],
        format: str = "nii.gz",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.options, self.format, self.details = folder, options, format, dict(details or {})
        self.settings = {name: plain(value) for name, value in settings.items()}

    def why_not(self, item: Mapping[str, Any], made: Entry) -> str:
        """Why a result is not what this run would make of a scan; empty where it is."""
        if made.get("status") == "replacing":
            return "the run before was interrupted"
        if not made.get("digest") or "settings" not in made:
            return "made by a version that did not record of what"
        if item.get("problem"):
            return "the scan cannot be read now"
        changed = self.changed(made)
        if changed:
            return f"{', '.join(changed)} changed"
        lacking = sorted(set(self.options) - set(made.get("options") or []))
        if lacking:
            return f"{', '.join(lacking)} asked for"
        label_map = outputs.label_map(made["case"], self.format)
        listed = own_files(made) or [label_map]
        if label_map not in listed and set(outputs.label_maps(made["case"])) & set(listed):
            return f"format {self.format} asked for"
        others = self._other_details(made)
        if others:
            return f"{', '.join(others)} changed"
        if not all(_has_bytes(self.folder / name) for name in listed):
            return "files are missing"
        return "" if _same_content(item, made) else "the scan changed"

    def changed(self, made: Mapping[str, Any]) -> list[str]:
        """Names of the settings that a result was made with and that are others now; the order of labels counts."""
        before = made.get("settings") or {}
        return sorted(name for name in {*before, *self.settings} if _text(before.get(name)) != _text(self.settings.get(name)))

    def _other_details(self, made: Mapping[str, Any]) -> list[str]:
        """Names of the details that the files asked for had other values of; a result that does not say them has the usual ones."""
        before = made.get("details") or {}
        return sorted({name.split("#")[0] for name, value in self.details.items() if before.get(name, USUAL.get(name)) != value})


def details(
    labels: Labels | None, structures: Mapping[str, Any] | str | os.PathLike | None, options: list[str], format: str, dicom_seg_type: str
) -> dict[str, Any]:
    """What the files of a run depend on that says nothing about their labels: only what those that are asked for hold.

    Args:
        labels: the `labels` block; None: files have no names.
        structures: what the user says of structures (`bundle.structures.describe`): what it makes of these labels counts.
        options: names of the further files that are asked for.
        format: of the label maps.
        dicom_seg_type: of DICOM SEG.

    Raises:
        UserError: the structures cannot be used.
    """
    found: dict[str, Any] = {}
    if labels is not None:
        # every label map has colours; codes are in DICOM and in 3D Slicer's
        names = [name for name in labels if name != "background"]
        found["structures"] = own_colours(names, structures)
        if format == "seg.nrrd" or {"dicom_seg", "rtstruct"} & set(options):
            found["structures#codes"] = own_codes(names, structures)
    if "dicom_seg" in options:
        found["dicom_seg_type"] = dicom_seg_type
    return found


def architecture(network: Any) -> dict[str, Any]:
    """What a network is besides its weights: its class, and the plain values that it was made with; of one made of others also these."""
    attributes = vars(network) if hasattr(network, "state_dict") else {}
    kinds = (bool, int, float, str, tuple, list)
    found: dict[str, Any] = {name: value for name, value in sorted(attributes.items()) if name[0] != "_" and isinstance(value, kinds)}
    found = {name: value for name, value in found.items() if name not in NOT_THE_RESULT}
    if isinstance(network, Ensemble):
        found["networks"] = [architecture(one) for one in network.networks]
    if isinstance(network, Zoomed):
        found["network"] = architecture(network.network)
    return plain({"class": type(network).__name__, **found})


def bytes_digest(path: str | os.PathLike | None) -> str | None:
    """Digest of the bytes of a file that results depend on; None where there is no file."""
    return identity.file_digest(path) if path is not None and os.path.isfile(path) else None


def plain(value: Any) -> Any:
    """A value as JSON knows it; whole numbers without a point."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _same_content(item: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether a scan has the bytes that a result was made of; its files are read only where size or times changed."""
    found = identity.files_of(item)
    if made.get("stamp") == identity.stamp(found):
        return True
    try:
        return made.get("bytes") == identity.size(found) and made["digest"] == identity.scan_digest(item)
    except OSError:
        return False


def _has_bytes(path: Path) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _text(value: Any) -> str:
    """A value as text that shows whether two are the same: 2 and 2.0 are, other orders of labels are not."""
    return json.dumps(plain(value))
