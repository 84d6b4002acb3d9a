"""Weights as files: the one place that reads, writes, checks and names them."""

from __future__ import annotations

import copy
import errno
import hashlib
import os
import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bundle.errors import UserError, counted
from bundle.files import written_aside
from bundle.networks.ensemble import Ensemble
from bundle.networks.weights.fit import refuse_other_settings, why_not
from bundle.results import identity

# a checkpoint, or several whose networks' logits are averaged
Paths = str | os.PathLike | Sequence[str | os.PathLike]

# under which keys of a checkpoint its weights are, in this order: MONAI, this bundle and others
KEYS = ("state_dict", "model", "network")
# of a classifier: the weights, and what they mean
MODEL, LEARNT_WITH = "model", "learnt_with"
# digests of files that `load_weights` has read, by what changes when a file does
_DIGESTS: dict[tuple, str] = {}
SETTLED_NS = 2 * 10**9
SAVE_AGAIN = "save network.state_dict() of that network again with torch.save"


def read_checkpoint(path: str | os.PathLike) -> Any:
    """What a file of `torch.save` holds: tensors, numbers and strings only, on the CPU, checksums verified.

    Raises:
        UserError: the file is missing, empty, damaged, or holds other objects (code would run when it is read).
    """
    path = Path(path)
    if not path.is_file():
        problem = "this is not a file but a folder, pipe or device" if path.exists() else "there is no such file"
        raise UserError(path, problem, "give the path of a checkpoint (--ckpt_path FILE), train first, or run `make weights`")
    try:
        if path.stat().st_size == 0:
            raise EOFError("the file is empty")
        _verify(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have their own
        fix = f"copy it again from where it is whole, give another checkpoint, or {SAVE_AGAIN}"
        raise UserError(path, f"cannot be read as a checkpoint: {_why(path, error)}", fix) from error


def _why(path: Path, error: Exception) -> str:
    """Why a checkpoint cannot be read, in plain words: what torch and pickle say is about their own insides."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, (EOFError, ValueError)):
        return str(error) or "it ends too early"
    if found := re.search(
        r"(?:GLOBAL|class|global) `?([\w.]+)`? was not an allowed global|Unsupported global: GLOBAL ([\w.]+)", str(error)
    ):
        return f"it holds other objects than tensors ({found[1] or found[2]}), which would run code"
    with open(path, "rb") as file:
        archive = file.read(2) == b"PK"
    if archive or "unexpected EOF" in str(error):
        return "it is cut off or damaged"
    return "torch.save has not written it, or it is damaged"


def state_dict_of(content: Any, where: str | os.PathLike) -> dict[str, Tensor]:
    """The state dict that a checkpoint's content is, or holds under `state_dict`, `model` or `network`.

    The `module.` that data parallel training puts in front of every name is dropped.

    Raises:
        UserError: no state dict is in it.
    """
    for key in KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(where, "holds no state dict", "save network.state_dict() with torch.save")
    names = [str(name) for name in content]
    if all(name.startswith("module.") for name in names):
        names = [re.sub(r"^(module\.)+", "", name) for name in names]
    return dict(zip(names, content.values(), strict=True))


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """The weights in a checkpoint file, all of them finite; see `state_dict_of` for what may be in the file.

    Raises:
        UserError: the file cannot be read, holds no state dict, or values that are not finite.
    """
    return _finite_state_dict(read_checkpoint(path), path)


def _finite_state_dict(content: Any, path: str | os.PathLike) -> dict[str, Tensor]:
    state_dict = state_dict_of(content, path)
    refuse_not_finite(state_dict, path)
    return state_dict


def load_weights(network: nn.Module, path: Paths, **settings: Any) -> nn.Module:
    """The network with the weights of a checkpoint file, in evaluation mode; of several, the mean of their logits (`Ensemble`).

    Args:
        network: takes the weights of the (first) file; for each further one a copy is made.
        path: a file or a list of files.
        settings: `labels`, `channels` and `hu_range` that the network runs with: compared where a file says its own, as `last.pt` does.

    Raises:
        UserError: a file cannot be read, its weights are not finite, of another network, or were trained with other settings.
    """
    if isinstance(path, Sequence) and not isinstance(path, str):
        return _several(network, path, settings)
    stamp = _stamp(path)
    content = read_checkpoint(path)
    state_dict = _finite_state_dict(content, path)
    _remember(stamp, path, state_dict)
    refuse_other_settings(content, path, network, settings)
    _check_channels(network, state_dict, path)
    _check_formats(network, state_dict, path)
    try:
        network.load_state_dict(state_dict, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(path, *why_not(network, state_dict, error)) from error
    return network.eval()


def _check_channels(network: nn.Module, state_dict: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Refuse weights whose first convolution takes another number of channels than the network's."""
    own: dict[str, Tensor] = getattr(network, "state_dict", dict)()
    name = next((name for name, value in own.items() if value.ndim > 3), "")
    found = state_dict.get(name)
    if found is None or found.ndim != own[name].ndim or found.shape[1] == own[name].shape[1] or found.shape[2:] != own[name].shape[2:]:
        return
    there, wanted = found.shape[1], own[name].shape[1]
    problem = f"these weights take {counted(there, 'channel')}, and the network {wanted}"
    fix = "set channels as it was in training (configs/overlays/experiments/pet_ct.json for CT with PET), or give other weights"
    raise UserError(path, problem, fix)


def _check_formats(network: nn.Module, state_dict: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Refuse whole numbers, such as quantised ones, for weights that are not: they would be copied as they are."""
    own: dict[str, Tensor] = getattr(network, "state_dict", dict)()
    whole = [name for name, value in state_dict.items() if name in own and own[name].is_floating_point() and not value.is_floating_point()]
    if whole:
        problem = f"{len(whole)} of {len(state_dict)} tensors hold whole numbers ({state_dict[whole[0]].dtype}), such as {whole[0]}"
        raise UserError(path, problem, "give weights as training wrote them, in floating point")


def _several(network: nn.Module, paths: Sequence[str | os.PathLike], settings: Mapping[str, Any]) -> nn.Module:
    if not paths:
        raise UserError("ckpt_path", "the list is empty", "give one checkpoint or more")
    networks = [network, *(copy.deepcopy(network) for _ in paths[1:])]
    loaded = [load_weights(one, path, **settings) for one, path in zip(networks, paths, strict=True)]
    return Ensemble(loaded).eval() if len(loaded) > 1 else loaded[0]


def refuse_not_finite(state_dict: Mapping[str, Tensor], where: str | os.PathLike) -> None:
    """Refuse weights of which some are NaN or infinite: a network with one of them computes nothing of use.

    Raises:
        UserError: with how many tensors are concerned, and the first one.
    """
    names = not_finite(state_dict)
    if names:
        problem = f"{len(names)} of {len(state_dict)} tensors hold values that are not finite, such as {names[0]}"
        raise UserError(where, problem, "give the checkpoint of an earlier epoch, or train again (docs/training.md)")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold NaN or an infinity."""
    floating = {name: value for name, value in tensors.items() if value.is_floating_point() or value.is_complex()}
    return [name for name, value in floating.items() if not _all_finite(value)]


def _all_finite(value: Tensor) -> bool:
    if value.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64) and value.numel():
        # NaN goes through both; three times as fast as looking at each value
        return all(bool(torch.isfinite(end)) for end in value.aminmax())
    return bool(torch.isfinite(value).all())


def write_checkpoint(content: Any, path: str | os.PathLike) -> None:
    """`torch.save` after which `path` holds the whole new content or, if killed on the way, the whole old one.

    Args:
        content: tensors, numbers, strings, and dicts and lists of them.
        path: the file; missing folders are made.

    Raises:
        UserError: the disk is full, or may not be written to.
    """
    try:
        with written_aside(path) as aside, open(aside, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            # the rename must not reach the disk before the content does: power cuts
            os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG):
            raise
        fix = "make room or give another folder; what was there before is unchanged"
        raise UserError(path, f"cannot be written ({error.strerror})", fix) from error


def write_state_dict(state_dict: Mapping[str, Tensor], path: str | os.PathLike, learnt: Mapping[str, Any] | None = None) -> None:
    """Write weights, with what they mean where they are a classifier's (`learnt_with`) and otherwise nothing else, whole or not at all.

    Raises:
        UserError: a value is not finite.
    """
    refuse_not_finite(state_dict, path)
    write_checkpoint({MODEL: dict(state_dict), LEARNT_WITH: dict(learnt)} if learnt else dict(state_dict), path)


def read_weights(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """As `read_state_dict`; and what a file of a classifier says about its weights: classes, spacing, window of HU; None for others."""
    content = read_checkpoint(path)
    learnt = content.get(LEARNT_WITH) if isinstance(content, Mapping) else None
    return _finite_state_dict(content, path), dict(learnt) if isinstance(learnt, Mapping) else None


def digest(weights: str | os.PathLike | Mapping[str, Tensor]) -> str:
    """SHA-256 of weights: of names, number formats, shapes and values, in hexadecimal.

    It depends on the values alone: the same weights as `model.pt`, within `last.pt`, or saved again have the same digest.

    Args:
        weights: a checkpoint file, or a state dict.

    Raises:
        UserError: as `read_state_dict`.
    """
    if not isinstance(weights, Mapping):
        stamp = _stamp(weights)
        if stamp is not None and stamp in _DIGESTS:
            return _DIGESTS[stamp]
    state_dict = weights if isinstance(weights, Mapping) else read_state_dict(weights)
    result = hashlib.sha256()
    for name in sorted(state_dict):
        value = state_dict[name].detach().cpu().contiguous()
        result.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        result.update(value.flatten().view(torch.uint8).numpy().data)
    return result.hexdigest()


def file_digest(path: Paths) -> str:
    """`digest` of the weights in a checkpoint file; of a list of files a digest of theirs, whatever their order."""
    if isinstance(path, Sequence) and not isinstance(path, str):
        if len(path) == 1:
            return digest(path[0])
        return hashlib.sha256("\n".join(sorted(map(digest, path))).encode()).hexdigest()
    return digest(path)


def weights_digest(path: Paths | None) -> str | None:
    """`file_digest`; of a file of another kind, as exported networks are, the digest of its bytes; None where there is no file."""
    if path is None:
        return None
    files = [path] if isinstance(path, (str, os.PathLike)) else path
    if not all(map(os.path.isfile, files)):
        return None
    try:
        return file_digest(path)
    except UserError:
        return identity.file_digest(path) if isinstance(path, (str, os.PathLike)) else None


def _stamp(path: str | os.PathLike) -> tuple | None:
    """What changes when a file does; None where it is missing, or so new that a change within the same tick of the clock would not show."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED_NS
    return (os.path.abspath(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if settled else None


def _remember(stamp: tuple | None, path: str | os.PathLike, state_dict: Mapping[str, Tensor]) -> None:
    """Keep the digest of a file that was just read, so that the record of a run need not read it again."""
    if stamp is not None and stamp == _stamp(path):
        _DIGESTS[stamp] = digest(state_dict)


def _verify(path: Path) -> None:
    """Compare the checksums that `torch.save` writes, which `torch.load` does not; older formats have none. Refuse an export."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError("it is an export (TorchScript), not the weights that it was made of")
        if damaged:
            raise ValueError(f"wrong checksum of {damaged}")
