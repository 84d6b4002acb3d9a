"""A classifier's word on a scan: whether it shows what a segmentation is asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import torch

from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.errors import UserError, reason

logger = logging.getLogger(__name__)
# of the reason in the score of a case
WEIGHT = 0.3
# the same where the classifier could not look
UNSEEN = 0.95


class ClassCheck(CaseHandler):
    """Adds a reason to review where a classifier is sure that a scan is of none of the classes that are expected.

    Below that the classifier says nothing: it was not made to find the scans that can be trusted.

    Args:
        weights: the file of a classifier (`bundle.inferers.classifier.Classifier`).
        expected: its classes that are as they should be, such as `abdomen`.
        sure: the probability of all other classes together above which a reason is given.
        device: where its network runs.
        memory_gb: GB that resampling for it may take.

    Raises:
        UserError: the file cannot be used, or knows none of `expected`.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        expected: Sequence[str],
        sure: float = 0.9,
        device: torch.device | str = "cpu",
        memory_gb: float | None = None,
    ) -> None:
        from bundle.inferers.classifier import Classifier

        self.classifier, self.expected, self.sure = Classifier(weights, device, memory_gb), [str(name) for name in expected], float(sure)
        strange = [name for name in self.expected if name not in self.classifier.classes]
        if strange:
            problem = f"{strange[0]} is none of the classes of {weights} ({', '.join(self.classifier.classes)})"
            raise UserError("expected_classes", problem, "give those of its classes that are as they should be")

    def predicted(self, case: Case) -> None:
        """Ask about the scan as it was loaded; what goes wrong there costs no result, and is a reason to look."""
        if case.scan is None:
            return
        try:
            found = self.classifier(case.scan)
        except Exception as error:
            logger.warning("%s: the classifier could not look at it (%s)", case.name, reason(error))
            case.notes.append((UNSEEN, "the classifier of scans could not look at it"))
            return
        case.notes += doubts(found, self.expected, self.sure)


def doubts(found: dict[str, float], expected: Sequence[str], sure: float) -> list[tuple[float, str]]:
    """A reason (weight, words), or none.

    Args:
        found: class to probability.
        expected: classes that are as they should be.
        sure: what the probability of all others together must be above.
    """
    others = {name: value for name, value in found.items() if name not in expected}
    together = sum(others.values())
    if not others or together <= sure:
        return []
    most = max(others, key=lambda name: others[name])
    return [(WEIGHT, f"the scan looks like {most}, not {' or '.join(expected)} (probability {together:.2f})")]


def settings(weights: str | os.PathLike | None, expected: Sequence[str], sure: float) -> dict[str, Any] | None:
    """What the reasons depend on, for the record of a result; None without a classifier."""
    from bundle.networks.weights import file_digest

    return None if weights is None else {"weights": file_digest(weights), "expected": list(expected), "sure": sure}
