"""What a request to the MONAI Label server may hold: names of the studies and values of known kinds, nothing else.

MONAI Label writes values of a request into the config and has MONAI parse it. There a text that begins with `$` is Python code,
`@` and `%` name other parts or files, and a dictionary with `_target_` calls what it names. It also joins names of a request to
folders. So every value is checked here before MONAI Label sees it. This module needs nothing but Python.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

Check = Callable[[str, Any], Any]

CODE = ("$", "@", "%")
# viewers send two or three
MOST_DEPTH = 20
IMAGES = (".nii.gz", ".nii", ".nrrd")
SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TAG = re.compile(r"\w[\w .-]{0,63}")
WEIGHTS = re.compile(r"\w[\w .+=-]{0,199}\.pt")
DEVICE = re.compile(r"cpu|mps|cuda(:[0-9]{1,2})?")
GPUS = re.compile(r"all|[0-9]{1,2}(,[0-9]{1,2})*")
LABEL_NAME = re.compile(r"[\w .,()+-]{0,200}")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# of these the choice of the next scan is made; another kind of value there would end each later choice
SERVERS_OWN = {"strategy", "doubt", "doubt_ts", "reasons", "epistemic_entropy", "epistemic_ts", "ts", "name", "path"}
# options of which 0 means nothing
ABOVE_ZERO = {"memory_gb"}
DTYPES = ("uint8", "uint16", "int16", "int32", "float32")


class Refused(ValueError):
    """A request that is not answered.

    Args:
        words: what is wrong with which value.
        status: the HTTP status of the answer.
    """

    def __init__(self, words: str, status: int = 422) -> None:
        # half of a pair of characters would end the answer
        super().__init__(words.encode("utf-8", "backslashreplace").decode())
        self.status = status


def plain(name: str, value: Any, depth: int = 0) -> Any:
    """The value, if nothing in it would be evaluated by MONAI's config parser; `depth` is how deep in another one it lies.

    Raises:
        Refused: it is nested too deeply, a text that begins with `$`, `@` or `%`, at any depth, or a key of the parser such as `_target_`.
    """
    if depth > MOST_DEPTH:
        raise Refused(f"{name[:80]}: is nested more than {MOST_DEPTH} deep.", 400)
    if isinstance(value, str) and value.lstrip().startswith(CODE):
        raise Refused(f"{name}: {value[:80]!r} would be evaluated as an expression. Give a plain value.")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if str(key).startswith("_") and str(key).endswith("_"):
                raise Refused(f"{name}: the key {str(key)[:80]!r} would be evaluated. Leave it out.")
            plain(name, key, depth + 1)
            plain(f"{name}.{str(key)[:80]}", entry, depth + 1)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            plain(name, entry, depth + 1)
    elif not (value is None or isinstance(value, (str, bool, int, float))):
        raise Refused(f"{name}: {type(value).__name__} is not a plain value.")
    return value


def file_name(name: str, value: Any, *, new: bool = False) -> str:
    """The id of an image: one part of a path, so that it stays in the folder of the studies.

    Args:
        name: how the request calls it.
        value: the id.
        new: whether a file of that name will be made; then it may not be hidden or look like an expression either.
    """
    text = str(value or "")
    try:
        length = len(os.fsencode(text))
    except UnicodeEncodeError:  # half of a pair of characters, which no file system takes
        raise Refused(f"{name}: {text[:80]!a} is not the name of an image of the studies.", 400) from None
    parts = {*PurePosixPath(text).parts, *PureWindowsPath(text).parts}
    if parts != {text} or text in (".", "..") or any(ord(letter) < 32 for letter in text) or length > 230:
        raise Refused(f"{name}: {text[:80]!r} is not the name of an image of the studies.", 400)
    if new and text.startswith((".", *CODE)):
        raise Refused(f"{name}: the name {text[:80]!r} begins with {text[0]!r}. Choose another one.", 400)
    return text


def upload(name: str, filename: str | None, allowed: Iterable[str] = IMAGES) -> str:
    """The name of an uploaded file without its folders, if it ends as a scan does; MONAI Label cuts the ending off and uses it."""
    given = PurePosixPath((filename or "scan.nii.gz").replace("\\", "/")).name
    # as MONAI Label cuts it: from the first dot on, a leading one excepted
    if not "".join(PurePosixPath(given).suffixes).endswith(tuple(allowed)):
        raise Refused(f"{name}: {given[:80]!r} does not end in {', '.join(allowed)}.", 415)
    return file_name(name, given)


def matching(pattern: re.Pattern, what: str, *, upper: bool = False) -> Check:
    """A check that takes text of a pattern, whole; from a list, as viewers send choices, the first entry."""

    def check(name: str, value: Any) -> str:
        value = value[0] if isinstance(value, (list, tuple)) and value else value
        text = value.upper() if upper and isinstance(value, str) else value
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise Refused(f"{name}: {str(value)[:80]!r} is not {what}.")
        return text

    return check


def one_of(*words: str) -> Check:
    """A check that takes one of some words."""
    return matching(re.compile("|".join(map(re.escape, words))), f"one of {', '.join(map(repr, words))}")


def switch(name: str, value: Any) -> bool:
    """True or False, also as text."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise Refused(f"{name}: {str(value)[:80]!r} is not true or false.")


def number(low: float, high: float, *, whole: bool = False, above: bool = False) -> Check:
    """A check that takes a number in a range, also as text; with `above` the lower end itself is not taken."""

    def check(name: str, value: Any) -> float | int:
        try:
            found = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not low <= found <= high or (above and found == low) or (whole and found != int(found)):
            kind = f"{'whole ' if whole else ''}number {'above' if above else 'from'} {low:g}"
            raise Refused(f"{name}: {str(value)[:80]!r} is not a {kind}{' up' if above else ''} to {high:g}.")
        return int(found) if whole else found

    return check


def optional(check: Check) -> Check:
    """The same check, where nothing ("" or null) is allowed as well."""
    return lambda name, value: value if value in (None, "") else check(name, value)


def tracking_uri(name: str, value: Any) -> str:
    """The address of MLflow that the server was started with, or none: a request must not choose a file or another machine."""
    if value in (None, "", os.environ.get("MONAI_LABEL_TRACKING_URI")):
        return value or ""
    raise Refused(f"{name}: is chosen when the server starts, by the environment variable MONAI_LABEL_TRACKING_URI.")


tag: Check = matching(TAG, "a label's tag (letters, digits, space, dot, hyphen)")
session: Check = matching(SESSION, "the id of a session")
weights: Check = matching(WEIGHTS, "the name of a .pt file in models/")
count: Check = number(0, 1e5, whole=True)

# every key that has a meaning, with its check; others are left out
RUNNING: dict[str, Check] = {
    "device": optional(matching(DEVICE, "cpu, cuda, cuda:0 or a device that /info/ names")),
    "model_filename": optional(weights),
    "multi_gpu": switch,
    "gpus": optional(matching(GPUS, "all, or numbers such as 0,1")),
    "logging": optional(matching(re.compile("|".join(LEVELS)), "a level such as INFO", upper=True)),
    "client_id": optional(matching(re.compile(r"[^$@%\x00-\x1f][^\x00-\x1f]{0,199}"), "plain text")),
}
INFER: dict[str, Check] = RUNNING | {
    "result_extension": optional(one_of(*IMAGES, ".seg.nrrd")),
    "result_dtype": optional(one_of(*DTYPES)),
    "result_compress": switch,
    "result_write_to_file": switch,
    "restore_label_idx": switch,
    "save_label": switch,
    "label_tag": tag,
    "label_info": plain,
}
BATCH: dict[str, Check] = INFER | {"max_workers": number(0, 256, whole=True), "max_batch_size": count}
TRAIN: dict[str, Check] = RUNNING | {
    "pretrained": switch,
    "max_epochs": number(1, 1e5, whole=True),
    "val_split": number(-1, 0.99),
    "force_multi_gpu": switch,
    "tracking": optional(one_of("mlflow", "None", "none")),
    "tracking_uri": tracking_uri,
    "tracking_experiment_name": optional(matching(LABEL_NAME, "a plain name")),
    "tracking_run_name": optional(matching(LABEL_NAME, "a plain name")),
    "run_id": optional(one_of("run", "training")),
}
SCORE: dict[str, Check] = RUNNING | {
    "max_samples": count,
    "simulation_size": number(2, 100, whole=True),
    "max_workers": number(0, 256, whole=True),
}
SAMPLE: dict[str, Check] = {"client_id": RUNNING["client_id"], "label_tag": tag}


def options(defaults: Mapping[str, Any]) -> dict[str, Check]:
    """Checks of `displayable_configs`, each of the kind of its default: a switch, one of a list, a word, or a number (`ABOVE_ZERO`)."""

    def check(key: str, value: Any) -> Check:
        if isinstance(value, bool):
            return switch
        if isinstance(value, (list, tuple)):
            return one_of(*map(str, value))
        return matching(LABEL_NAME, "a plain word") if isinstance(value, str) else optional(number(0, 1e6, above=key in ABOVE_ZERO))

    return {key: check(key, value) for key, value in defaults.items()}


def known(given: Any, checks: Mapping[str, Check], devices: Iterable[str] = ()) -> dict[str, Any]:
    """The known keys of a request's parameters, each checked. Other keys, which viewers send for other models, are left out.

    Args:
        given: the parameters, a dictionary (None: none).
        checks: check by key.
        devices: names of devices besides cpu and cuda, as `/info/` lists them.

    Raises:
        Refused: a value of another kind, or anywhere an expression.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise Refused("the parameters are not a JSON object.")
    plain("params", given)
    kept: dict[str, Any] = {}
    for key, value in given.items():
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if key == "device" and isinstance(first, str) and first in set(devices):
            kept[key] = first
        elif key in checks:
            kept[key] = checks[key](key, value)
    return kept


def json_object(name: str, text: str | None) -> dict[str, Any]:
    """A JSON object of a form's field, without anything that would be evaluated; nothing is an empty one."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name}: is not valid JSON.", 400) from error
    if not isinstance(found, dict):
        raise Refused(f"{name}: is not a JSON object.", 400)
    return plain(name, found)


def info(name: str, text: str | None) -> dict[str, Any]:
    """What a viewer notes about an image or a label: a plain JSON object, without the keys that the server itself writes and reads."""
    found = json_object(name, text)
    if taken := SERVERS_OWN & found.keys():
        raise Refused(f"{name}: the server itself writes {', '.join(sorted(taken))}.", 400)
    return found
