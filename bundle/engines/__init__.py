"""The engine of inference: scan after scan, where a bad one never stops the others; and one scan from Python."""

from typing import Any

from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.engines.events import ScanEvents
from bundle.engines.segment import segment
from bundle.engines.segmentation import Segmentation, SegmentedStructure

__all__ = ["CaseHandler", "ScanEvaluator", "ScanEvents", "Segmentation", "SegmentedStructure", "finalize", "segment"]


def finalize(evaluator: Any) -> None:
    """End the process with exit code 1 where a scan failed; engines of others, which end with their first error, pass."""
    if hasattr(evaluator, "finalize"):
        evaluator.finalize()
