"""The app that `python -m bundle monai-label` serves: MONAI Label's own `monaibundle`, and what active learning lacks there.

Imported by the server only (it needs monailabel). Everything else in the bundle works with the plain `monaibundle` app.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import monailabel
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.epistemic import Epistemic
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.tasks.train.bundle import BundleTrainTask

from bundle.serving import checked, doubt
from bundle.serving.values import IMAGES as OFFERED


def sample_app() -> Path:
    """The `monaibundle` app that came with the installed MONAI Label."""
    roots = (Path(monailabel.__file__).parent.parent, Path(sys.prefix) / "monailabel", Path.home() / ".local" / "monailabel")
    for root in roots:
        folder = root / "sample-apps" / "monaibundle"
        if (folder / "main.py").exists():
            return folder
    raise FileNotFoundError(f"no sample-apps/monaibundle in {', '.join(map(str, roots))}")


def _sample_class() -> type[MONAILabelApp]:
    spec = spec_from_file_location("monaibundle_main", sample_app() / "main.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MyApp


class BundleTrainer(BundleTrainTask):
    """MONAI Label's training task, where `pretrained: false` trains from scratch.

    0.8.5 asks `os.path.exists(None)` then and ends with "stat: path should be string, bytes, os.PathLike or integer".
    """

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[dict[str, Any]]) -> None:
        if pretrained:
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)


class Doubt(ScoringMethod):
    """Scores every unlabelled scan by its quality record (`bundle.serving.doubt`)."""

    KEY = doubt.KEY

    def __init__(self, infer_task: BundleInferTask) -> None:
        super().__init__("Score by the quality record: 1 minus its score, so the most doubtful is highest")
        self.infer_task = infer_task

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score; the numbers of scans that were scored, skipped, and could not be segmented."""
        return doubt.score(self.infer_task, datastore, request.get("device", "cpu"))


class BundleApp(_sample_class(), MONAILabelApp):  # type: ignore[misc]  # a class that is found when the server starts
    """`monaibundle` with training from scratch, the scoring method `doubt`, strategies that use the scores, and every request checked."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        super().__init__(app_dir, studies, conf)
        checked.install(self)

    def init_datastore(self) -> Datastore:
        """A folder of studies that is never written through links; a DICOMweb server as MONAI Label has it."""
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        return checked.StudiesDatastore(
            self.studies,
            extensions=[f"*{ending}" for ending in OFFERED],
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )

    def init_trainers(self) -> dict[str, TrainTask]:
        """One trainer for each bundle that can be trained."""
        trainers = super().init_trainers()
        return {name: BundleTrainer(self.models[name], self.conf) for name in trainers}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """The epistemic method where it is configured, and `doubt` where `--conf doubt true` asks for it."""
        methods = dict(super().init_scoring_methods())
        if str(self.conf.get("doubt", "false")).lower() == "true":
            methods[Doubt.KEY] = Doubt(next(iter(self._infers.values())))
        return methods

    def init_strategies(self) -> dict[str, Strategy]:
        """`random` and `first` of the sample app, and the highest score first."""
        strategies = dict(super().init_strategies())
        strategies["epistemic"] = Epistemic()
        strategies[Doubt.KEY] = Epistemic(key=Doubt.KEY, desc="Get the scan whose result is the most doubtful")
        return strategies
