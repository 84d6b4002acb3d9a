"""Modules under their former names, for one version: overlays of users name classes by path (`_target_`).

`import bundle.reports.score` gives `bundle.evaluation.score`, with a warning that says where it is now.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

# former name -> name now; a package that is gone maps to None and holds nothing itself
MOVED: dict[str, str | None] = {
    "bundle.reports": None,
    "bundle.data.check": "bundle.data.checks.check",
    "bundle.data.check_report": "bundle.data.checks.check_report",
    "bundle.data.dicom": "bundle.dicom",
    "bundle.data.doctor": "bundle.data.checks.doctor",
    "bundle.data.fact_cache": "bundle.data.checks.fact_cache",
    "bundle.data.facts": "bundle.data.checks.facts",
    "bundle.data.orientation": "bundle.data.checks.orientation",
    "bundle.data.phantom": "bundle.data.synthetic.phantom",
    "bundle.data.rules": "bundle.data.checks.rules",
    "bundle.data.synthesis": "bundle.data.synthetic.synthesis",
    "bundle.data.tally": "bundle.data.checks.tally",
    "bundle.handlers.attention_figures": "bundle.handlers.training.attention_figures",
    "bundle.handlers.case_reports": "bundle.handlers.inference.case_reports",
    "bundle.handlers.checkpoint": "bundle.handlers.training.checkpoint",
    "bundle.handlers.console": "bundle.handlers.inference.console",
    "bundle.handlers.epoch_seed": "bundle.handlers.training.epoch_seed",
    "bundle.handlers.epoch_table": "bundle.handlers.training.epoch_table",
    "bundle.handlers.growing_data": "bundle.handlers.training.growing_data",
    "bundle.handlers.previews": "bundle.handlers.training.previews",
    "bundle.handlers.progress": "bundle.handlers.training.progress",
    "bundle.handlers.run_record": "bundle.handlers.inference.run_record",
    "bundle.handlers.save_unvalidated": "bundle.handlers.training.save_unvalidated",
    "bundle.handlers.segmentation_writer": "bundle.handlers.inference.segmentation_writer",
    "bundle.handlers.training_state": "bundle.handlers.training.training_state",
    "bundle.handlers.validation": "bundle.handlers.training.validation",
    "bundle.inferers.case": "bundle.engines.case",
    "bundle.inferers.evaluator": "bundle.engines.evaluator",
    "bundle.inferers.fit": "bundle.networks.sizes",
    "bundle.inferers.prediction": "bundle.engines.prediction",
    "bundle.inferers.segment": "bundle.engines.segment",
    "bundle.inferers.setup": "bundle.inferers.begin",
    "bundle.networks.average": "bundle.networks.weights.average",
    "bundle.networks.convolve": "bundle.networks.fast.convolve",
    "bundle.networks.folding": "bundle.networks.fast.folding",
    "bundle.networks.slabs": "bundle.networks.fast.slabs",
    "bundle.networks.transfer": "bundle.networks.weights.transfer",
    "bundle.networks.upsampling": "bundle.networks.fast.upsampling",
    "bundle.reports.attention_figure": "bundle.pictures.attention_figure",
    "bundle.reports.attention_preview": "bundle.pictures.attention_preview",
    "bundle.reports.cases": "bundle.quality.cases",
    "bundle.reports.compare": "bundle.evaluation.compare",
    "bundle.reports.compare_figure": "bundle.evaluation.compare_figure",
    "bundle.reports.comparison": "bundle.pictures.comparison",
    "bundle.reports.drawing": "bundle.drawing.drawing",
    "bundle.reports.experiment": "bundle.evaluation.experiment",
    "bundle.reports.figures": "bundle.drawing.figures",
    "bundle.reports.gates": "bundle.pictures.gates",
    "bundle.reports.label_maps": "bundle.data.label_maps",
    "bundle.reports.layout": "bundle.drawing.layout",
    "bundle.reports.learn_ranges": "bundle.quality.learn_ranges",
    "bundle.reports.measure": "bundle.quality.measure",
    "bundle.reports.misses": "bundle.pictures.misses",
    "bundle.reports.page": "bundle.pictures.page",
    "bundle.reports.paired": "bundle.evaluation.paired",
    "bundle.reports.planes": "bundle.drawing.planes",
    "bundle.reports.preview": "bundle.pictures.preview",
    "bundle.reports.quality": "bundle.quality.review",
    "bundle.reports.quickstart": "bundle.evaluation.quickstart",
    "bundle.reports.ranges": "bundle.quality.ranges",
    "bundle.reports.scan_check": "bundle.quality.scan_check",
    "bundle.reports.score": "bundle.evaluation.score",
}
REMOVED_IN = "0.4.0"


class _FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules by their former names, after everything else has failed to."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=MOVED[name] is None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Python's own empty module, which `exec_module` replaces."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of now in the place of the former name."""
        name = module.__name__
        now = MOVED[name]
        if now is not None:
            warnings.warn(f"{name} is now {now}; the former name goes in version {REMOVED_IN}", FutureWarning, stacklevel=2)
            sys.modules[name] = importlib.import_module(now)


def install() -> None:
    """Make former names importable; once is enough."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(_FormerNames())
