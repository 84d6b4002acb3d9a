"""Scores of unlabelled scans by the quality record that inference makes, so that the most doubtful result is looked at first."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from bundle.errors import reason

logger = logging.getLogger(__name__)
KEY = "doubt"


def score(infer_task: Any, datastore: Any, device: str = "cpu") -> dict[str, Any]:
    """Score every unlabelled scan: 1 - the score of its record, so 1 is surely wrong.

    Stored with the scan as `doubt`, with the time stamp of the weights, so that a scan is scored again only after training. A scan that
    cannot be segmented is named in the log, and the others are scored.

    Args:
        infer_task: MONAI Label's task for this bundle.
        datastore: the studies.
        device: where the network runs.

    Returns:
        the numbers of unlabelled scans: `total`, `skipped` (scored already), `executed`, `failed`; and `latency` in s.
    """
    stamp, start, done = int(Path(infer_task.get_path()).stat().st_mtime), time.time(), {"skipped": 0, "executed": 0, "failed": 0}
    images = datastore.get_unlabeled_images()
    for image in images:
        if datastore.get_image_info(image).get("doubt_ts") == stamp:
            done["skipped"] += 1
            continue
        try:
            wanted = {"image": datastore.get_image_uri(image), "device": device, "quality_record": True, "skip_writer": True}
            record = infer_task(request=wanted)[1]["result"]
        except Exception as error:  # whatever is wrong with one scan
            logger.warning("%s has no score: %s", image, reason(error))
            done["failed"] += 1
            continue
        found = {KEY: round(1.0 - record["score"], 4), "reasons": record["reasons"], "doubt_ts": stamp}
        datastore.update_image_info(image, found)
        done["executed"] += 1
    return {"total": len(images), **done, "latency": round(time.time() - start, 3)}
