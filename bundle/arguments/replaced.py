"""What a user's own configs put in the place of this bundle's steps: results depend on it, and no key at the top says it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from monai.bundle import ConfigParser

from bundle.arguments.config import SEPARATOR, config_of, current, reached, references, shipped_path
from bundle.arguments.paths import NEEDED, OPTIONAL

# what makes a label map of a scan, besides the network
STEPS = ("preprocessing", "inferer", "postprocessing")
# where files are and how it runs: results do not depend on it
NOT_THE_RESULT = {*NEEDED, *OPTIONAL, "device", "threads", "memory_gb"}


def own_steps() -> dict[str, Any] | None:
    """Those parts of the steps of the config that is being evaluated which are not this bundle's, as they are written.

    Parts are keys at the top that the steps reach by references. Left out are those that `record` refers to, as a result has them anyway.

    Returns:
        key to what is written there; None where all is as in the configs of this bundle that are in use, and outside of a config.
    """
    parser = current()
    if parser is None:
        return None
    config = config_of(parser)
    usual, recorded = _of_this_bundle(config.get("overlays") or ()), _tops(references(config.get("record")))
    parts = sorted((_tops(reached(config, STEPS)) & config.keys()) - recorded - NOT_THE_RESULT)
    found = {key: text for key in parts if (text := _text(config[key])) != _text(usual.get(key))}
    return {key: json.loads(text) for key, text in found.items()} or None


def _of_this_bundle(names: Iterable[str]) -> dict[str, Any]:
    """The configs of these names, one over the other; names of others are left out."""
    files = [str(path) for name in names if (path := shipped_path(name)).is_file()]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser.resolve_macro_and_relative_ids()
    return config_of(parser)


def _tops(ids: Iterable[str]) -> set[str]:
    return {name.split(SEPARATOR)[0] for name in ids}


def _text(value: Any) -> str:
    """A value as JSON; an object that was handed over in Python by its class."""
    return json.dumps(value, sort_keys=True, default=lambda thing: type(thing).__qualname__)
