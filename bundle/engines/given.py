"""What `segment` is given: paths, images or arrays, as the entry of a case that the transforms begin with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from bundle.channels import Block, channels_of, told
from bundle.data.load_scan import checked_voxels
from bundle.data.scans import find_scans
from bundle.errors import UserError
from bundle.images.reading import numbers
from bundle.images.voxels import check_affine, check_grid


def entry(image: Any, affine: Any, channels: Block) -> dict[str, Any]:
    """The entry of one case: a path to load, as inference finds it, or voxels that are there already.

    Args:
        image: a path, an image of nibabel or an array (X, Y, Z); of several channels a dictionary of name and image, a list of
            images in the order of the channels, or the path of a file or folder that holds them all.
        affine: (4, 4) of an array; of several channels one for all, or a dictionary or list as `image`.
        channels: the `channels` block.

    Raises:
        UserError: there is no such scan or it is none, an array has no affine, a channel is missing.
    """
    if isinstance(image, (Mapping, list, tuple)):
        return _several(image, affine, channels)
    if isinstance(image, (str, os.PathLike)):
        _no_affine(affine, "file")
        return _one_scan(image, channels)
    return {"image": _voxels(image, affine, "image", "ct"), "case": "image", "source": "image"}


def _several(image: Mapping[str, Any] | list | tuple, affine: Any, block: Block) -> dict[str, Any]:
    """The entry of a case whose channels are given one by one."""
    channels = channels_of(block)
    names = [channel.name for channel in channels]
    given = dict(image) if isinstance(image, Mapping) else dict(zip(names, image, strict=False))
    if len(names) == 1 or len(image) != len(names) or set(given) != set(names):
        shown = ", ".join(map(str, image)) if isinstance(image, Mapping) else f"a list of {len(image)}"
        fix = "give an image for each of them"
        if len(names) == 1:
            fix = "give one image, or the channels and weights of a network that takes several (docs/channels.md)"
        raise UserError("image", f"it has {shown}, and the network takes {told(block)}", fix)
    if not isinstance(affine, Mapping):
        affine = dict.fromkeys(names, affine) if affine is None or np.ndim(affine) == 2 else dict(zip(names, affine, strict=False))
    parts = {}
    for channel in channels:
        part, own = given[channel.name], affine.get(channel.name)
        if isinstance(part, (str, os.PathLike)):
            # one affine for all is that of the arrays
            parts[channel.name] = os.fspath(part)
        else:
            parts[channel.name] = _voxels(part, own, channel.name, channel.kind)
    first = parts.pop(names[0])
    source = first if isinstance(first, str) else "image"
    return {"image": first, "channels": parts, "case": "image", "source": source}


def _voxels(image: Any, affine: Any, where: str, kind: str) -> MetaTensor:
    """An image of nibabel or an array (X, Y, Z) as `LoadScand` gives one: a CT as int16 or float32, others as float32."""
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        _no_affine(affine, "image")
        image, affine = np.asanyarray(image.dataobj), image.affine
    if affine is None:
        raise UserError(
            "affine", "an array does not say how large its voxels are and how they are oriented", "give the affine (4, 4) in mm, RAS+"
        )
    values = image.numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    replaced = 0
    if kind == "ct":
        values, replaced = checked_voxels(values, where)
    else:
        check_grid(where, values.shape, dtype=values.dtype)
        values = numbers(values.reshape(values.shape[:3]))
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise UserError("affine", f"its shape is {affine.shape}", "give a (4, 4) matrix")
    check_affine("affine", affine)
    meta = {"original_affine": affine.copy(), "spatial_shape": np.array(values.shape), "original_channel_dim": float("nan")}
    meta |= {"space": "RAS", "not_numbers": replaced}
    return MetaTensor(torch.from_numpy(values.copy(order="K")), affine=torch.as_tensor(affine), meta=meta)


def _no_affine(affine: Any, what: str) -> None:
    if affine is not None:
        raise UserError("affine", f"the {what} has one of its own", "leave it out")


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
