"""What each key at the top of the configs may be: type and range, in one table, checked before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundle.arguments.command_line import CommandLine
from bundle.arguments.config import config_of
from bundle.arguments.kinds import (
    MOST_OVERLAP,
    MOST_RATE,
    MOST_THREADS,
    MOST_VOXELS,
    SPACING_MM,
    Kind,
    Wrong,
    channels,
    class_names,
    device,
    labels,
    left_open,
    mixed_precision,
    number,
    one_of,
    part,
    pieces,
    rising,
    several,
    switch,
    whole,
)
from bundle.errors import UserError, counted

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

LOSSES = ("lambda_dice", "lambda_ce", "lambda_bce")
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
    "seed": whole(0, optional=True),
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
