"""The engine of inference: one scan after the other, where a bad one never stops the others."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from ignite.engine import Events, EventsList
from ignite.engine.events import RemovableEventHandle
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents, default_metric_cmp_fn
from monai.inferers import Inferer
from monai.networks.utils import eval_mode
from monai.utils import ForwardMode
from monai.utils.enums import CommonKeys as Keys

from bundle import distributed
from bundle.engines.case import Case, noting_failure
from bundle.engines.case_handler import CaseHandler
from bundle.engines.entries import entries
from bundle.engines.events import SEES_LABELS, ScanEvents, guarded
from bundle.engines.prediction import Calibrate, predict
from bundle.engines.stages import Stages
from bundle.errors import UserError
from bundle.inferers.attention import check_gates
from bundle.inferers.memory import reserved
from bundle.inferers.volume import batch_norms
from bundle.networks import weights

__all__ = ["CaseHandler", "ScanEvaluator", "ScanEvents"]

# keys of MONAI's evaluators that this one does not take, and what to do instead
_FIXES = {
    "compile": "compile the network itself: $torch.compile(...)",
    "compile_kwargs": "compile the network itself: $torch.compile(...)",
    "epoch_length": "give fewer scans",
    "iteration_update": "use an inferer of your own",
    "prepare_batch": "use a transform in preprocessing",
}


class ScanEvaluator(SupervisedEvaluator):
    """Takes every scan of a dataset through transforms, network and handlers; what fails is noted, and the next one follows.

    MONAI's `SupervisedEvaluator` ends with the first scan that cannot be read, runs loading, network and writing one after
    the other, and knows nothing of runs that are resumed. Here the next scan loads and the last one is written while the
    network works, where the memory budget has room for both.

    An iteration is one scan, and one that cannot be loaded has none. `state.batch` and `state.output` are lists of one
    dictionary, as MONAI's engines have them when decollated: the preprocessed entry of the dataset; `image`, `label` where
    there is one, and `pred`. They are let go after the iteration. `ScanEvents` are the events of a scan. Postprocessing runs
    beside the next scan's network, unless a handler or metric listens to `MODEL_COMPLETED` or `ITERATION_COMPLETED`: it finds
    the postprocessed `pred`.

    Args:
        device: where the network runs.
        dataset: MONAI dataset whose `data` are entries of `bundle.data.scans.find_scans` and whose `transform` is the
            preprocessing; its transforms run one by one.
        network: what maps a batch to logits; an `AttentionUnet` or an exported one.
        inferer: how the network sees a volume.
        postprocessing: transforms that make a label map from the logits `pred`; None leaves the logits.
        val_handlers: any handlers of MONAI, Ignite and this package, attached in this order.
        flips: average over the mirror image as well, and note how far the two disagree.
        attention: keep the coefficients of the network's gates.
        memory_gb: memory in GB for the whole process; None: no limit on overlapping the stages.
        prepare: makes a faster copy of a network with batch norms, such as `bundle.networks.fold_batch_norm`; called before
            the first scan, when handlers have loaded what weights they load.
        calibrate: changes the expected Dice of each structure, such as `bundle.inferers.calibration.Calibration`.
        val_data_loader: a `DataLoader` in place of `dataset`: its dataset counts. Scans of unlike sizes are no batch, and
            loading ahead is this engine's own.
        key_val_metric: name to metric, computed over the scans, as in MONAI's evaluators.
        additional_metrics: more of them.
        metric_cmp_fn: whether a key metric is better than the best one.
        amp: run the inferer under autocast; `bundle.inferers.VolumeInferer` has a `precision` of its own.
        amp_kwargs: for autocast, such as `dtype`.
        mode: "eval" or "train", what mode the network is put into.
        event_names: further events to register.
        event_to_attr: event to attribute of the state, for these.
        non_blocking: as MONAI's; changes nothing here, as do `decollate` and `to_kwargs`.

    Raises:
        UserError: no scans, an argument that there is not, or one of MONAI's evaluators that has no place where scans come one by one.
    """

    # an engine whose run ended in an error runs again from the start
    interrupt_resume_enabled = False

    def __init__(
        self,
        *,
        device: torch.device | str,
        dataset: Any = None,
        network: Callable[[torch.Tensor], torch.Tensor],
        inferer: Inferer,
        postprocessing: Callable | None = None,
        val_handlers: Sequence | None = None,
        flips: bool = False,
        attention: bool = False,
        memory_gb: float | None = None,
        prepare: Callable[[torch.nn.Module], torch.nn.Module] | None = None,
        calibrate: Calibrate | None = None,
        val_data_loader: Any = None,
        key_val_metric: dict | None = None,
        additional_metrics: dict | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        amp: bool = False,
        mode: ForwardMode | str = ForwardMode.EVAL,
        event_names: list | None = None,
        event_to_attr: dict | None = None,
        amp_kwargs: dict | None = None,
        non_blocking: bool = False,
        decollate: bool = True,
        to_kwargs: dict | None = None,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            if name not in _FIXES:
                raise UserError("evaluator", f"it has no argument {name}", "correct the name, or leave it out")
            if value:
                raise UserError("evaluator", f"{name} has no place where scans come one by one", _FIXES[name])
        self.dataset = dataset if val_data_loader is None else val_data_loader.dataset
        if self.dataset is None:
            raise UserError("evaluator", "it has no scans", "give it a dataset or a val_data_loader")
        self.postprocessing, self.prepare, self.calibrate = postprocessing, prepare, calibrate
        self.flips, self.attention, self.memory_gb = flips, attention, memory_gb
        self.log = logging.getLogger("bundle.inference")
        self.case_handlers: list[CaseHandler] = []
        self.items: list[dict[str, Any]] = []
        self.cases: list[Case] = []
        self.problems: list[str] = []
        self.interrupted = self._watched = self._loads = False
        self._here = threading.local()
        self._prepared: Any = None
        self.stages, self._digest = Stages(self), ""
        super().__init__(
            device=torch.device(device),
            val_data_loader=(),
            network=network,  # type: ignore[arg-type]  # an exported network is no module, and is only called
            inferer=inferer,
            key_val_metric=key_val_metric,
            additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn,
            val_handlers=val_handlers,
            amp=amp,
            amp_kwargs=amp_kwargs,
            mode=mode,
            event_names=[*(event_names or []), ScanEvents],
            event_to_attr=event_to_attr,
            decollate=False,
        )
        self.logger.addFilter(_not_the_end)

    @property
    def case(self) -> Case | None:
        """The scan that the event is about that is being fired in this thread."""
        return getattr(self._here, "case", None)

    @property
    def failed(self) -> list[Case]:
        """The cases of this run that failed."""
        return [case for case in self.cases if case.error is not None]

    @property
    def lacking(self) -> list[Case]:
        """The other cases of this run without a picture that was asked for, as the disk would not take it."""
        return [case for case in self.cases if case.error is None and case.lacking]

    def add_event_handler(self, event_name: Any, handler: Callable, *args: Any, **kwargs: Any) -> RemovableEventHandle:
        """As Ignite's; a handler of a scan's events that raises lets this scan fail, and not the run."""
        if not isinstance(event_name, EventsList):  # each of a list comes here by itself
            self._watched |= event_name in SEES_LABELS
            self._loads |= event_name == Events.STARTED
            handler = guarded(self, event_name, handler)
        return super().add_event_handler(event_name, handler, *args, **kwargs)

    def done(self, item: dict[str, Any]) -> bool:
        """Whether an earlier run has finished this case."""
        return any(handler.done(item) for handler in self.case_handlers)

    def loaded_weights(self) -> str | None:
        """Digest of the network's weights where a handler has loaded others since the run began; None where it is as it was."""
        now = self._weights() if self._loads else ""
        return now if now != self._digest else None

    def run(self, global_epoch: int = 1) -> list[Case]:  # type: ignore[override]  # MONAI's returns nothing
        """Work through the dataset; return the cases of this run, without their voxels.

        Raises:
            UserError: an entry of the dataset without an image; coefficients of gates are to be kept, and the network has none.
        """
        if self.attention:
            self._check_gates()
        items = entries(self.dataset.data)
        for handler in self.case_handlers:
            items = handler.named(items)
        self.items, self.cases, self.problems = items, [], []
        self.interrupted, self._prepared, self.stages = False, None, Stages(self)
        self._digest = self._weights() if self._loads else ""
        # how many scans there will be is known at the end: of those that fail there is no iteration
        scans = self.stages.scans()
        self.state.epoch_length, self.data_loader = None, scans
        try:
            super().run(global_epoch)
        except KeyboardInterrupt:
            self.interrupted = True
            raise
        finally:
            # what is being written comes to its end
            scans.close()
            self.data_loader, self._here.case, self._prepared = (), None, None
            self.state.batch = self.state.output = self.state.dataloader = None
            if self.stages.begun:
                self.fire_event(ScanEvents.RUN_FINISHED)
        return self.cases

    def admit(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take more scans into the run, as while a folder is watched; gives those that are to be done, under their names.

        Args:
            items: entries as of the dataset; one of a source that the run has takes the place of its earlier entry.
        """
        new = entries(items)
        for handler in self.case_handlers:
            new = handler.named(new)
        sources = {str(item["source"]) for item in new}
        self.items = [*(item for item in self.items if str(item["source"]) not in sources), *new]
        for handler in self.case_handlers:
            handler.arrived(new)
        return [item for item in new if not self.done(item)]

    def await_scans(self) -> None:
        """Tell the handlers that all is done for now, and more may come."""
        for handler in self.case_handlers:
            handler.waiting()

    def finalize(self) -> None:
        """End the process with exit code 1 when a case failed or lacks a picture; `run` raises nothing, so that notebooks can look on.

        Of several processes that torchrun started the first one says it for all: torchrun ends the others when one fails.
        """
        if (self.failed or self.lacking or self.problems) and distributed.rank() == 0:
            sys.exit(1)

    def _weights(self) -> str:
        return weights.digest(self.network.state_dict()) if isinstance(self.network, torch.nn.Module) else ""

    def _iteration(  # type: ignore[override]  # MONAI's work on a dictionary, and give a list of them where they decollate
        self, engine: SupervisedEvaluator, batchdata: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """One scan through the network, and where a handler is to see its labels also through postprocessing."""
        case = self.case
        assert case is not None, "an iteration is about a scan"
        self.state.output = []
        if case.error is None:
            with case.timed("network"), noting_failure(case), reserved(self.stages.beside), self._ready_to_run() as network:
                self._predict(case, network)
                self._show(case)
                self.fire_event(ScanEvents.SCAN_PREDICTED)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        if self._watched and case.error is None:
            with noting_failure(case):
                self.stages.restore(case)
                self._show(case)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return [] if case.error is not None else self.state.output

    def _check_gates(self) -> None:
        check_gates(self.network)

    def _predict(self, case: Case, network: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Put what the network says of a scan into its case."""
        wanted = {"flips": self.flips, "attention": self.attention}
        predict(case, network, self.inferer, self.state.device, **wanted, calibrate=self.calibrate)

    def _show(self, case: Case) -> None:
        """Put into `state.output` what MONAI's engines have there: image, label, prediction, and what is new beside the batch."""
        batch, shown = self.state.batch[0], (Keys.IMAGE, Keys.LABEL, Keys.PRED)
        self.state.output = [{key: value for key, value in case.data.items() if key in shown or key not in batch}]

    @contextmanager
    def _ready_to_run(self) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The network in its mode; without batch norms where it can be."""
        if self._prepared is None:
            foldable = self.mode is eval_mode and bool(batch_norms(self.network))
            self._prepared = self.prepare(self.network) if foldable and self.prepare is not None else self.network
        network = self._prepared
        mode: AbstractContextManager = self.mode(network) if isinstance(network, torch.nn.Module) else nullcontext()
        with mode, torch.autocast(self.state.device.type, **self.amp_kwargs) if self.amp else nullcontext():
            yield network

    def be_about(self, case: Case | None) -> None:
        """From here on, in this thread, events are about this scan."""
        self._here.case = case

    def take_output(self) -> Any:
        """What the iteration left as output; nothing holds on to its volumes after this."""
        output, self.state.output = self.state.output, None
        self.be_about(None)
        return output

    def fire_about(self, event: ScanEvents, case: Case) -> None:
        """Fire an event of one scan, in the thread that calls."""
        before, self._here.case = self.case, case
        try:
            self.fire_event(event)
        finally:
            self._here.case = before


def _not_the_end(record: logging.LogRecord) -> bool:
    # Ignite logs that an exception ends the run; whoever sees the exception need not read it twice
    return "terminating due to exception" not in record.getMessage()
