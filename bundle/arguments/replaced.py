"""What a user's own configs put in the place of this bundle's steps: results depend on it, and no key at the top says it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bundle.arguments.config import SEPARATOR, as_json, combined, config_of, current, is_other, reached, references
from bundle.arguments.paths import NEEDED, OPTIONAL

# what makes a label map of a scan, besides the network
STEPS = ("preprocessing", "inferer", "postprocessing")
# arguments of the engine that look on
LOOKING_ON = {"val_handlers", "key_val_metric", "additional_metrics", "metric_cmp_fn"}
# where files are and how it runs: results do not depend on it
NOT_THE_RESULT = {*NEEDED, *OPTIONAL, "device", "threads", "memory_gb"}


def own_steps() -> dict[str, Any] | None:
    """Those parts of the steps of the config that is being evaluated which are not this bundle's, as they are written.

    Parts are keys at the top that the steps reach by references, and the engine itself (`evaluator`). Left out are those that `record`
    refers to, as a result has them anyway.

    Returns:
        key to what is written there; None where all is as in the configs of this bundle that are in use, and outside of a config.
    """
    parser = current()
    if parser is None:
        return None
    config = config_of(parser)
    shipped = combined(config.get("overlays") or ())
    shipped.resolve_macro_and_relative_ids()
    usual = config_of(shipped)
    recorded = _tops(references(config.get("record")))
    parts = sorted((_tops(reached(config, STEPS)) & config.keys()) - recorded - NOT_THE_RESULT)
    found = {key: config[key] for key in parts if is_other(config[key], usual.get(key))}
    engine = _engine(config)
    found |= {"evaluator": engine} if is_other(engine, _engine(usual)) else {}
    return json.loads(as_json(found)) or None


def _engine(config: Mapping[str, Any]) -> Any:
    """The engine as it is written, without what only looks on."""
    engine = config.get("evaluator")
    return {key: value for key, value in engine.items() if key not in LOOKING_ON} if isinstance(engine, Mapping) else engine


def _tops(ids: Iterable[str]) -> set[str]:
    return {name.split(SEPARATOR)[0] for name in ids}
