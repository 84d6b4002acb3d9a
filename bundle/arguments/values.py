"""What each key at the top of the configs may be: type and range, in one table, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import config_of
from bundle.errors import UserError, counted

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

# takes a value, gives it as the key needs it, or raises `Wrong` with what would be right
Kind = Callable[[Any], Any]


# edges of voxels in mm that CT is segmented at: below, no memory holds a scan; above, an organ is less than a voxel or two
SPACING_MM = 0.1, 20.0
# far beyond any CT, also of metal
MOST_HU = 1e5
# voxels along an edge of a patch, and threads or processes: more of them is a slip of the keyboard
MOST_VOXELS, MOST_THREADS = 4096, 1024
# a tenth of a patch is the smallest step of the window: with less, a scan would take days
MOST_OVERLAP = 0.9
# one step of a larger one makes any weights useless
MOST_RATE = 10.0
LOSSES = ("lambda_dice", "lambda_ce", "lambda_bce")


class Wrong(Exception):
    """A value that a key cannot have; the text says what it can be."""


def whole(least: int | None = None, optional: bool = False, most: int | None = None) -> Kind:
    """A whole number, from `least` on and up to `most`; None where `optional`."""
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    bounds = "" if least is None else f" from {least} up" + ("" if most is None else f" to {most}")
    wanted = "a whole number" + bounds + (", or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(wanted)
        return value

    return kind


def number(
    above: float = -math.inf, least: float = -math.inf, below: float = math.inf, most: float = math.inf, optional: bool = False
) -> Kind:
    """A finite number between bounds; None where `optional`."""
    bounds = [
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"from {least:g}"] if least > -math.inf else []),
        *([f"below {below:g}"] if below < math.inf else []),
        *([f"up to {most:g}"] if most < math.inf else []),
    ]
    wanted = " ".join(["a number", *bounds]) + (", or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not (above < value < below and least <= value <= most):
            raise Wrong(wanted)
        return value

    return kind


def several(one: Kind, count: int | None, what: str) -> Kind:
    """`count` values of a kind (None: one or more)."""

    def kind(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or (len(value) != count if count else not value):
            raise Wrong(what)
        try:
            return [one(item) for item in value]
        except Wrong:
            raise Wrong(what) from None

    return kind


def one_of(*choices: Any) -> Kind:
    """One of some words."""

    def kind(value: Any) -> Any:
        if value not in choices:
            raise Wrong("one of " + ", ".join(map(str, choices)))
        return value

    return kind


def switch(value: Any) -> bool:
    """True or false, also as text: fire takes `false` for a word, and a word that is not empty would be true."""
    text = str(value).lower()
    if text not in ("true", "false", "1", "0"):
        raise Wrong("true or false")
    return text in ("true", "1")


def mixed_precision(value: Any) -> Any:
    """`auto`, or a switch."""
    try:
        return value if value == "auto" else switch(value)
    except Wrong:
        raise Wrong("auto, true or false") from None


def device(value: Any) -> Any:
    """A device that this machine has."""
    import torch

    try:
        found = torch.device(value)
    except (RuntimeError, TypeError, ValueError):
        raise Wrong("cpu, cuda, or cuda and a number such as cuda:0") from None
    count = torch.cuda.device_count() if found.type == "cuda" and torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        raise Wrong(f"cuda:0 to cuda:{count - 1}" if count else "cpu, as PyTorch finds no GPU on this machine")
    return value if isinstance(value, (str, torch.device)) else str(found)


def rising(value: Any) -> Any:
    """Lower and upper end of a range in HU."""
    wanted = f"two numbers in HU from {-MOST_HU:g} to {MOST_HU:g}, the lower one first, such as -200,300"
    low, high = several(number(least=-MOST_HU, most=MOST_HU), 2, wanted)(value)
    if not low < high:
        raise Wrong(wanted)
    return [low, high]


def labels(value: Any) -> Any:
    """A block of labels; what is wrong inside it is said by `bundle.labels`."""
    from bundle import labels as block

    if not isinstance(value, Mapping):
        raise Wrong("a block such as '{background: 0, pancreas: 1}'")
    block.check(value)
    return value


def left_open(value: Any) -> Any:
    """Values of label maps, each with the structures that it may be; None or empty for none."""
    if not value:
        return None
    wanted = """values from 1 to 255, each with the structures that it may be, such as '{"255": ["pancreas", "spleen"]}'"""
    if not isinstance(value, Mapping):
        raise Wrong(wanted)
    for key, names in value.items():
        good = str(key).isdecimal() and 1 <= int(key) <= 255
        if not good or not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
            raise Wrong(wanted)
    return value


def channels(value: Any) -> Any:
    """A block of channels; what is wrong inside it is said by `bundle.channels`."""
    from bundle.channels import channels_of

    channels_of(value)
    return value


def part(value: Any) -> Any:
    """A part of a run, such as 3/8."""
    from bundle.errors import UserError
    from bundle.results.parts import part_of

    try:
        return value if value is None else str(part_of(str(value)))
    except UserError:
        raise Wrong("K/N, the K-th of N parts counted from 1, such as 3/8") from None


def pieces(value: Any) -> Any:
    """What to keep of each structure; the structures' names are looked at by the transform."""
    each = list(value.values()) if isinstance(value, Mapping) else [] if value is None else [value]
    for one in each:
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not (0 < one < 1 or (one >= 1 and one == int(one))):
            raise Wrong("a share below 1 such as 0.1, a number of pieces from 1 up, or one of them for each structure")
    return value


def class_names(least: int, optional: bool = False) -> Kind:
    """Names of classes, `least` or more, each once; None where `optional`."""
    few = "two names" if least == 2 else "one name"
    wanted = f"{few} or more, each once, such as \"['none','portal']\"" + ("; or None" if optional else "")

    def kind(value: Any) -> Any:
        if optional and value is None:
            return None
        names = [str(name) for name in value] if isinstance(value, (list, tuple)) else []
        plain = all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in value) if names else False
        if len(names) < least or len(set(names)) < len(names) or not plain:
            raise Wrong(wanted)
        return names

    return kind


THREE_SIZES = several(whole(1, most=MOST_VOXELS), 3, f"three whole numbers from 1 up to {MOST_VOXELS}, such as 160,160,96")
COUNT, SHARE, POSITIVE = whole(1), number(least=0, most=1), number(above=0)


def _edges(example: str) -> Kind:
    least, most = SPACING_MM
    return several(number(least=least, most=most), 3, f"three numbers from {least:g} to {most:g} in mm, such as {example}")


KINDS: dict[str, Kind] = {
    # data
    "labels": labels,
    "unlisted_labels": one_of("background", "error"),
    "may_be": left_open,
    "channels": channels,
    "fold": whole(0),
    "num_folds": COUNT,
    "split_seed": whole(),
    "with_test": switch,
    "train_size": whole(1, optional=True),
    "test_size": whole(1, optional=True),
    "section": one_of("training", "validation", "test", "all"),
    "spacing": _edges("2,2,2"),
    "hu_range": rising,
    # how it runs
    "device": device,
    "augment_device": device,
    "threads": whole(0, most=MOST_THREADS),
    "num_workers": whole(0, most=MOST_THREADS),
    "memory_gb": number(above=0, optional=True),
    "amp": mixed_precision,
    "precision": one_of("auto", "fp32", "bf16", "fp16"),
    # training
    "seed": whole(0),
    "resume": switch,
    "grow": switch,
    "max_epochs": COUNT,
    "val_interval": COUNT,
    "batch_size": COUNT,
    "gradient_averaging": COUNT,
    "patch_size": THREE_SIZES,
    "affine_prob": SHARE,
    "flip_prob": SHARE,
    "learning_rate": number(above=0, most=MOST_RATE),
    "weight_decay": number(least=0),
    "lr_step": COUNT,
    "lr_gamma": POSITIVE,
    "preview_cases": whole(0),
    "figure_epochs": several(COUNT, None, "whole numbers from 1 up, such as 1,10,100"),
    "gates_first_epochs": whole(0),
    "lambda_dice": number(least=0),
    "lambda_ce": number(least=0),
    "lambda_bce": number(least=0),
    # classifiers
    "classes": class_names(2, optional=True),
    "spatial_dims": one_of(2, 3),
    "aggregation": one_of("concat", "mean", "deep_supervision", "fine_tuned"),
    "balanced": switch,
    "sure": SHARE,
    "expected_classes": class_names(1),
    "class_sure": SHARE,
    # inference
    "part": part,
    "roi_size": THREE_SIZES,
    "overlap": number(least=0, most=MOST_OVERLAP),
    "flips": switch,
    "keep_pieces": pieces,
    "crf": number(least=0),
    "box": one_of("xyz", "z"),
    "box_margin": number(least=0),
    "coarse_spacing": _edges("5,5,5"),
    "probabilities": switch,
    "attention": switch,
    "previews": switch,
    "format": one_of("nii.gz", "seg.nrrd"),
    "dicom_seg": switch,
    "dicom_seg_type": one_of("binary", "labelmap"),
    "rtstruct": switch,
    "overwrite": switch,
    "watch": switch,
    "watch_idle": number(least=0, optional=True),
    "allow_missing": switch,
}


def check(parser: ConfigParser, line: CommandLine) -> None:
    """Check every key of the table that the config has, and give it the value in the form that it needs.

    Raises:
        UserError: the key, its value, and what it can be.
    """
    resolved = parser.ref_resolver.resolved_content
    found = {}
    for key, kind in KINDS.items():
        if key in config_of(parser):
            found[key] = resolved[key] = _value(key, kind, parser, line)
    if "fold" in found and found["fold"] >= found["num_folds"]:
        folds = found["num_folds"]
        problem = f"{found['fold']} is not one of {counted(folds, 'fold')}, counted from 0"
        raise UserError(line.shown("fold"), problem, f"use {'0' if folds == 1 else f'0 to {folds - 1}'}, or more num_folds")
    weights = [key for key in LOSSES if key in found]
    if weights and not any(found[key] for key in weights):
        problem = "all are 0: the loss would be 0 whatever the network does, and nothing would be learnt"
        raise UserError(", ".join(map(line.shown, weights)), problem, "give one of them a weight above 0, such as 1")
    if found.get("precision") == "fp16" and str(found["device"]).startswith("cpu"):
        raise UserError(line.shown("precision"), "fp16 needs a GPU", "use auto, fp32 or bf16 on the CPU")
    elsewhere = not str(found.get("augment_device", "cpu")).startswith("cpu")
    if elsewhere and parser["train"]["dataloader"]["_target_"] == "DataLoader":
        problem = f"{found['augment_device']} takes no part in the processes of a DataLoader"
        raise UserError(line.shown("augment_device"), problem, "add the overlay configs/overlays/train/gpu_augmentation.json instead")


def _value(key: str, kind: Kind, parser: ConfigParser, line: CommandLine) -> Any:
    """The value of one key."""
    shown = line.shown(key)
    if line.values.get(key, "") is None and kind is not switch:
        raise UserError(shown, "there is no value after this key", "give one")
    if line.values.get(key) == "None":
        # MONAI drops such a key without a word, and the value of an overlay would stay
        return _fitting(shown, kind, None)
    try:
        value = parser.get_parsed_content(key)
    except UserError:
        raise
    except Exception as error:
        reason = error.__cause__ or error
        raise UserError(shown, f"{config_of(parser)[key]!r} cannot be evaluated ({reason})", "give a plain value") from error
    return _fitting(shown, kind, value)


def _fitting(shown: str, kind: Kind, value: Any) -> Any:
    try:
        return kind(value)
    except Wrong as wrong:
        raise UserError(shown, f"{_brief(value)} does not fit this key", f"give {wrong}") from None


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
