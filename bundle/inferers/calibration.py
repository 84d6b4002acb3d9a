"""The Dice that a network's own probabilities predict, made what it was in scans with references."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle import labels as label_block
from bundle.errors import UserError
from bundle.inferers.confidence import Confidence
from bundle.results.identity import stamp

logger = logging.getLogger("bundle.inference")

NAME = "calibration.json"
# expected Dice that the logarithm of the odds still takes
EDGE = 1e-4

# slope and intercept
Line = tuple[float, float]


def logit(value: float) -> float:
    """The logarithm of the odds of a share, 0 to 1."""
    value = min(1 - EDGE, max(EDGE, float(value)))
    return math.log(value / (1 - value))


def calibrated(value: float, line: Line) -> float:
    """The Dice that a line makes of an expected Dice."""
    return 1 / (1 + math.exp(-(line[0] * logit(value) + line[1])))


def beside(weights: Any) -> str:
    """Where the calibration of a file of weights lies by default, whether it is there or not: `calibration.json` in its folder.

    Of several files of weights the first counts.
    """
    first = weights[0] if isinstance(weights, (list, tuple)) and weights else weights
    folder = Path(first).expanduser().parent if isinstance(first, (str, os.PathLike)) else Path()
    return str(folder / NAME)


class Calibration:
    """Makes the expected Dice of each structure what it was in scans with references.

    Args:
        path: file of the verb `calibrate`; None changes nothing, and so does the one beside the weights where it is missing.
        weights: checkpoint, or list of them, that runs. A file that was fitted to other weights changes nothing; of one that is not the
            one beside the weights, that is told.
        labels: the `labels` block, whose order is that of the channels.

    Raises:
        UserError: no such file, no calibration in it, or one of other structures; also when called, where it has become one.
    """

    def __init__(self, path: str | os.PathLike | None, weights: Any, labels: label_block.Labels) -> None:
        self.path, self.weights, self.labels, self.names = path, weights, labels, label_block.names(labels)
        several = weights if isinstance(weights, (list, tuple)) else [weights]
        self._files = [os.fspath(file) for file in (path, *several) if isinstance(file, (str, os.PathLike))]
        self._stamp: str | None = None
        self.content = self._read()
        self._lines: dict[str, Line] = {}

    def _read(self) -> Mapping[str, Any]:
        if self.path is None or (not self._is_given() and not os.path.exists(self.path)):
            return {}
        content = _read(self.path)
        if self._is_given():
            label_block.check_known(content["structures"], self.labels, self.path)
        return content

    def _is_given(self) -> bool:
        """Whether somebody asked for this very file; the one beside the weights is there for all."""
        return self.path is not None and str(self.path) != beside(self.weights)

    @property
    def lines(self) -> dict[str, Line]:
        """Slope and intercept by structure; empty where the file is of other weights. Read again when one of the files has changed."""
        # taken before they are read: what changes meanwhile is read the next time
        now = stamp(self._files)
        if now != self._stamp:
            from bundle.networks.weights import weights_digest

            if self._stamp is not None:
                self.content = self._read()
            fits = bool(self.content) and self.content["weights"] == weights_digest(self.weights)
            if self.content and not fits and self._is_given():
                logger.warning("%s was fitted to other weights than those that run: it changes nothing", self.path)
            structures = self.content["structures"].items() if fits else ()
            self._lines = {name: (one["slope"], one["intercept"]) for name, one in structures}
            self._stamp = now
        return self._lines

    def __call__(self, found: Sequence[Confidence | None]) -> list[Confidence | None]:
        """The same confidences, by channel, with another expected Dice."""
        named, lines = zip(self.names, found, strict=False), self.lines
        changed = [
            one
            if one is None or name not in lines
            else one._replace(expected_dice=calibrated(one.expected_dice, lines[name]), calibrated=True)
            for name, one in named
        ]
        return [*changed, *found[len(changed) :]]


def _read(path: str | os.PathLike) -> Mapping[str, Any]:
    fix = "write it with python -m bundle calibrate RESULTS OUT, or give --calibration None"
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        structures = content["structures"].values()
        good = all(math.isfinite(one["slope"]) and math.isfinite(one["intercept"]) for one in structures) and "weights" in content
    except OSError as error:
        raise UserError(str(path), f"the calibration cannot be read ({type(error).__name__})", fix) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        good = False
    if not good:
        raise UserError(str(path), "this is no calibration", fix)
    return content
