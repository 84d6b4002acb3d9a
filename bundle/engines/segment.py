"""Scans to their label maps by one call, for notebooks and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data.meta_tensor import MetaTensor
from monai.transforms import LoadImaged

import bundle
from bundle.arguments.mistakes import users_mistake
from bundle.channels import Block
from bundle.data.load_scan import checked_voxels
from bundle.data.scans import find_scans
from bundle.engines.case import Case
from bundle.engines.prediction import predict
from bundle.engines.segmentation import Segmentation, case_result
from bundle.engines.segmentation import details as details_of
from bundle.errors import UserError, counted
from bundle.images.voxels import check_affine
from bundle.quality.ranges import load_ranges

# networks with their options, the oldest first
KEPT = 4
# the network as the engine runs it
FOLDED = "_folded"
_parsers: dict[str, ConfigParser] = {}


@overload
def segment(
    image: list[Any] | tuple[Any, ...], affine: Sequence[Any] | None = None, *, details: Literal[False] = False, **options: Any
) -> list[np.ndarray]: ...
@overload
def segment(
    image: list[Any] | tuple[Any, ...], affine: Sequence[Any] | None = None, *, details: Literal[True], **options: Any
) -> list[Segmentation]: ...
@overload
def segment(image: Any, affine: np.ndarray | None = None, *, details: Literal[False] = False, **options: Any) -> np.ndarray: ...
@overload
def segment(image: Any, affine: np.ndarray | None = None, *, details: Literal[True], **options: Any) -> Segmentation: ...


def segment(image: Any, affine: Any = None, *, details: bool = False, **options: Any) -> Any:
    """The label map of a CT: a path, a nibabel image, or voxels in HU with their affine; or a list of them.

    Runs the network, transforms and weights of `configs/inference.json`, so the result is that of the command line. The
    network is loaded once per set of options.

        from bundle.engines import segment
        labels = segment("scan.nii.gz")                     # or a DICOM folder, NRRD, MHA
        labels = segment(voxels, affine=affine)             # numpy array or tensor (X, Y, Z), HU
        labels = segment(nibabel.load("scan.nii.gz"), ckpt_path="my.pt", flips=True)
        found = segment("scan.nii.gz", details=True)        # names, volumes, confidence, review as well
        several = segment(["a.nii.gz", "b.nii.gz"])         # one result for each

    Args:
        image: path of a file or of a DICOM folder, an image of nibabel, or an array (X, Y, Z) in HU; a list or tuple is several.
        affine: (4, 4), voxel indices to mm, RAS+; needed with an array, and only there. One for each array of a list.
        details: give what `cases.csv` says about a scan, too.
        options: keys of `configs/inference.json` to change, such as `ckpt_path`, `device`, `precision`, `memory_gb`, `flips`,
            `spacing` or `keep_pieces`.

    Returns:
        uint8 (X, Y, Z) on the grid of the scan, with the values of the `labels` block; with `details` a
        `bundle.engines.Segmentation` that has it; for a list, a list of them in the same order.

    Raises:
        UserError: a scan cannot be read or is not a CT volume, a folder holds several, or the weights are missing. Of a list,
            the first such scan ends the call.
    """
    if not isinstance(image, (list, tuple)):
        return _segment_one(image, affine, details, options)
    affines = [None] * len(image) if affine is None else list(affine)
    if len(affines) != len(image):
        there = f"{counted(len(affines), 'affine')} for {counted(len(image), 'scan')}"
        raise UserError("affine", there, "give a list with one for each")
    return [_segment_one(*pair, details, options) for pair in zip(image, affines, strict=True)]


def _segment_one(image: Any, affine: Any, details: bool, options: Mapping[str, Any]) -> np.ndarray | Segmentation:
    get = partial(_get, _parser(options))
    item = _item(image, affine, get("channels"))
    case = Case(item, data=dict(item))
    if details and isinstance(item["image"], MetaTensor):
        case.scan = item["image"]
    for step in get("preprocessing").transforms:
        loads = isinstance(step, LoadImaged)
        if loads and not isinstance(item["image"], (str, list)):
            continue
        case.data = step(case.data)
        if loads and details:
            # later steps make new tensors: this one stays as it was loaded
            case.scan = case.data["image"]
    predict(case, get(FOLDED), get("inferer"), torch.device(get("device")), flips=get("flips"))
    case.data = get("postprocessing")(case.data)
    if not details:
        return np.asarray(case.label_map().as_tensor()[0])
    return details_of(case_result(case, get("labels"), case.source, load_ranges(get("reference_ranges"))))


def _parser(options: Mapping[str, Any]) -> ConfigParser:
    """The parsed inference config with these options; the network in it is made once."""
    key = repr(sorted(options.items()))
    if key not in _parsers:
        parser = ConfigParser()
        parser.read_config(str(Path(bundle.root(), "configs", "inference.json")))
        unknown = [name for name in options if name.split("#")[0] not in parser.config]
        if unknown:
            raise UserError(unknown[0], "this is not a key of configs/inference.json", "see docs/inference.md")
        parser.update(pairs={**options, FOLDED: "$bundle.networks.fold_batch_norm(@network)"})
        parser.parse(reset=True)
        while len(_parsers) >= KEPT:
            _parsers.pop(next(iter(_parsers)))
        _parsers[key] = parser
    return _parsers[key]


def _get(parser: ConfigParser, name: str) -> Any:
    """An item of the config; a user's mistake comes out as itself and not wrapped in the parser's errors."""
    try:
        return parser.get_parsed_content(name)
    except Exception as error:
        raise users_mistake(error) or error from None


def _item(image: Any, affine: np.ndarray | None, channels: Block) -> dict[str, Any]:
    """The entry that the transforms begin with: a path to load, as inference finds it, or voxels that are there already."""
    if isinstance(image, (str, os.PathLike)):
        if affine is not None:
            raise UserError("affine", "the file has one of its own", "leave it out")
        return _one_scan(image, channels)
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        if affine is not None:
            raise UserError("affine", "the image has one of its own", "leave it out")
        image, affine = np.asanyarray(image.dataobj), image.affine
    if affine is None:
        raise UserError(
            "affine", "an array does not say how large its voxels are and how they are oriented", "give the affine (4, 4) in mm, RAS+"
        )
    values = checked_voxels(image.numpy() if isinstance(image, torch.Tensor) else np.asarray(image), "image")
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise UserError("affine", f"its shape is {affine.shape}", "give a (4, 4) matrix")
    check_affine("affine", affine)
    meta = {"original_affine": affine.copy(), "spatial_shape": np.array(values.shape), "original_channel_dim": float("nan")}
    voxels = torch.from_numpy(values.copy(order="K"))
    return {"image": MetaTensor(voxels, affine=torch.as_tensor(affine), meta={**meta, "space": "RAS"}), "case": "image", "source": "image"}


def _one_scan(path: str | os.PathLike, channels: Block) -> dict[str, Any]:
    """The one scan that a path is.

    Raises:
        UserError: there is none, it cannot be read, or there are several.
    """
    found = find_scans(path, channels=channels)
    if len(found) > 1:
        names = ", ".join(str(item["source"]) for item in found[:3])
        raise UserError(
            path, f"there are {len(found)} scans in this folder ({names}{', ...' if len(found) > 3 else ''})", "give one of them"
        )
    if found[0].get("problem"):
        raise UserError(found[0]["source"], found[0]["problem"], found[0]["fix"])
    return found[0]
