"""Scans to their label maps by one call, for notebooks and programs."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data.meta_tensor import MetaTensor
from monai.transforms import LoadImaged

from bundle.arguments import overlays as combined
from bundle.arguments import values
from bundle.arguments.command_line import CommandLine, normal
from bundle.arguments.config import config_of, reached, touches
from bundle.arguments.config_files import Names, as_list, config_path
from bundle.arguments.mistakes import users_mistake
from bundle.engines.case import Case
from bundle.engines.given import entry
from bundle.engines.prediction import predict
from bundle.engines.segmentation import Segmentation, case_result
from bundle.engines.segmentation import details as details_of
from bundle.errors import UserError, counted
from bundle.inferers.memory import apart
from bundle.quality.ranges import load_ranges
from bundle.results.identity import stamp

# networks with their options, the oldest first
KEPT = 4
# the network as the engine runs it
FOLDED = "_folded"
# what is taken from the configs; handlers and the engine are those of a run
USED = "channels preprocessing network inferer device flips calibrated postprocessing labels reference_ranges".split()
# keys of the configs that name files by an expression, or files that may come later
OF_FILES = ("ckpt_path", "coarse_ckpt_path", "calibration", "shape_prior", "reference_ranges")


class _Kept(NamedTuple):
    """A parsed config, with the network and all else that was made of it.

    Attributes:
        parser: makes each item once.
        named: the files that the configs name, whether they are there or not.
        stamps: of the configs and of these files, before they were read.
    """

    parser: ConfigParser
    named: list[str]
    stamps: tuple[str, str]


_kept: dict[str, _Kept] = {}


@overload
def segment(
    image: list[Any] | tuple[Any, ...],
    affine: Sequence[Any] | None = None,
    *,
    details: Literal[False] = False,
    overlays: Names = (),
    **options: Any,
) -> list[np.ndarray]: ...
@overload
def segment(
    image: list[Any] | tuple[Any, ...], affine: Sequence[Any] | None = None, *, details: Literal[True], overlays: Names = (), **options: Any
) -> list[Segmentation]: ...
@overload
def segment(image: Any, affine: Any = None, *, details: Literal[False] = False, overlays: Names = (), **options: Any) -> np.ndarray: ...
@overload
def segment(image: Any, affine: Any = None, *, details: Literal[True], overlays: Names = (), **options: Any) -> Segmentation: ...


def segment(image: Any, affine: Any = None, *, details: bool = False, overlays: Names = (), **options: Any) -> Any:
    """The label map of a CT: a path, a nibabel image, or voxels in HU with their affine; or a list of them.

    Runs the network, transforms and weights of `configs/inference.json`, so the result is that of the command line. The
    network is loaded once per set of options, and again when its file or another one that the configs name has changed.

        from bundle.engines import segment
        labels = segment("scan.nii.gz")                     # or a DICOM folder, NRRD, MHA
        labels = segment(voxels, affine=affine)             # numpy array or tensor (X, Y, Z), HU
        labels = segment(nibabel.load("scan.nii.gz"), ckpt_path="my.pt", flips=True)
        found = segment("scan.nii.gz", details=True)        # names, volumes, confidence, review as well
        several = segment(["a.nii.gz", "b.nii.gz"])         # one result for each
        labels = segment("scan.nii.gz", overlays="cascade")
        labels = segment({"ct": "ct.nii.gz", "pet": suv}, {"pet": affine}, overlays="pet_ct", ckpt_path="my.pt")

    Args:
        image: path of a file or of a DICOM folder, an image of nibabel, or an array (X, Y, Z) in HU; a list or tuple is several scans.
            For a network of several channels also a dictionary of channel and image, or, in a list of scans, a list of the images
            in the order of the channels; a PET is SUV, as a DICOM folder or in numbers.
        affine: (4, 4), voxel indices to mm, RAS+; needed with an array, and only there. One for each array of a list, or an array for
            all. Of several channels a dictionary or list as `image`, or one for all of them.
        details: give what `cases.csv` says about a scan, too.
        overlays: over `configs/inference.json`, by name or path, such as `cascade`, `crf` or `pet_ct`; several in a list.
        options: keys of `configs/inference.json` to change, such as `ckpt_path`, `device`, `precision`, `memory_gb`, `flips`,
            `spacing` or `keep_pieces`. Those of what only a run does, such as `attention` or `scan_classifier`, are refused.

    Returns:
        uint8 (X, Y, Z) on the grid of the scan, with the values of the `labels` block; with `details` a
        `bundle.engines.Segmentation` that has it; for a list, a list of them in the same order.

    Raises:
        UserError: an option has a value that it cannot have, a scan cannot be read or is not a CT volume, a folder holds several, a
            channel or the weights are missing, overlays do not combine. Of a list, the first such scan ends the call.
    """
    files = tuple(config_path(item) for item in ("configs/inference.json", *as_list(overlays)))
    if not isinstance(image, (list, tuple)):
        return _segment_one(image, affine, details, files, options)
    # one matrix is that of all scans
    affines = [affine] * len(image) if affine is None or getattr(affine, "ndim", 0) == 2 else list(affine)
    if len(affines) != len(image):
        there = f"{counted(len(affines), 'affine')} for {counted(len(image), 'scan')}"
        raise UserError("affine", there, "give a list with one for each")
    return [_segment_one(*pair, details, files, options) for pair in zip(image, affines, strict=True)]


@apart()
def _segment_one(image: Any, affine: Any, details: bool, files: tuple[str, ...], options: Mapping[str, Any]) -> np.ndarray | Segmentation:
    get = partial(_get, _parser(files, options))
    item = entry(image, affine, get("channels"))
    case = Case(item, data=dict(item))
    if details and isinstance(item["image"], MetaTensor):
        case.scan = item["image"]
    for step in get("preprocessing").transforms:
        loads = isinstance(step, LoadImaged)
        if loads and not isinstance(item["image"], (str, list)) and not item.get("channels"):
            continue
        case.data = step(case.data)
        if loads and details:
            # later steps make new tensors: this one stays as it was loaded
            case.scan = case.data["image"]
    predict(case, get(FOLDED), get("inferer"), torch.device(get("device")), flips=get("flips"), calibrate=get("calibrated"))
    case.postprocess(get("postprocessing"))
    if not details:
        return np.asarray(case.label_map().as_tensor()[0])
    return details_of(case_result(case, get("labels"), case.source, load_ranges(get("reference_ranges"), get("labels"))))


def _parser(files: tuple[str, ...], options: Mapping[str, Any]) -> ConfigParser:
    """The parsed inference config, overlays and options over it. The network in it is made once, until a file changes that it is of."""
    key, configs = repr((files, sorted(options.items()))), stamp(files)
    kept = _kept.get(key)
    if kept is not None and kept.stamps == (configs, stamp(kept.named)):
        return kept.parser
    del kept
    # let go before a new one is made, as memory may have room for one only; cycles of references hold the networks of a parser
    if _kept.pop(key, None) is not None:
        gc.collect()
    parser = _parsed(files, options)
    named = _named_files(parser)
    while len(_kept) >= KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[key] = _Kept(parser, named, (configs, stamp(named)))
    return parser


def _parsed(files: Sequence[str], options: Mapping[str, Any]) -> ConfigParser:
    """The configs one over the other, and the options over them, checked."""
    combined.check_order(files)
    parser = ConfigParser(ConfigParser.load_config_files(list(files)))
    line = CommandLine({"config_file": json.dumps(files), **{name: str(value) for name, value in options.items()}})
    combined.check(parser, line)
    assert isinstance(parser.config, dict)
    unknown = [name for name in options if name.split("#")[0] not in parser.config]
    if unknown:
        named = "configs/inference.json" + (" and its overlays" if len(files) > 1 else "")
        raise UserError(unknown[0], f"this is not a key of {named}", "see docs/inference.md")
    if "classifier_network" in parser.config:
        raise UserError("overlays", "a classifier gives no label map", "classify by the command line (docs/classification.md)")
    parser.update(pairs={**options, FOLDED: "$bundle.networks.fold_batch_norm(@network)"})
    parser.parse(reset=True)
    values.check(parser, line)
    used = reached(config_of(parser), USED)
    if idle := [name for name in options if not any(touches(normal(name), key) for key in used)]:
        raise UserError(idle[0], "this key has no effect in segment", "leave it out; it is for a run (python -m bundle run inference)")
    return parser


def _named_files(parser: ConfigParser) -> list[str]:
    """The files that keys at the top of a config name: those of `OF_FILES` also where there is no file, others where there is one."""
    assert isinstance(parser.config, dict)
    found = []
    for key, value in parser.config.items():
        paths = _get(parser, key) if key in OF_FILES else value
        for path in paths if isinstance(paths, (list, tuple)) else [paths]:
            if isinstance(path, (str, os.PathLike)) and (key in OF_FILES or os.path.isfile(path)):
                found.append(os.fspath(path))
    return found


def _get(parser: ConfigParser, name: str) -> Any:
    """An item of the config; a user's mistake comes out as itself and not wrapped in the parser's errors."""
    try:
        return parser.get_parsed_content(name)
    except Exception as error:
        raise users_mistake(error) or error from None
