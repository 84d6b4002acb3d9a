"""The engine of inference: scan after scan, where a bad one never stops the others; and one scan from Python."""

from bundle.engines.evaluator import CaseHandler, ScanEvaluator
from bundle.engines.segment import segment
from bundle.engines.segmentation import Segmentation, SegmentedStructure

__all__ = ["CaseHandler", "ScanEvaluator", "Segmentation", "SegmentedStructure", "segment"]
