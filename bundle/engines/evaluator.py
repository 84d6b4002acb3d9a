"""The engine of inference: one scan after the other, where a bad one never stops the others."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from monai.inferers import Inferer
from monai.transforms import LoadImaged

from bundle.engines.case import Case
from bundle.engines.prediction import predict
from bundle.errors import UserError, reason
from bundle.files import spelled
from bundle.inferers.memory import beside_the_network, reserved, room_to_overlap

logger = logging.getLogger("bundle.inference")


class CaseHandler:
    """What an evaluator reports to its handlers; a handler overrides what it needs. `named`, `done` and `claim` give an answer."""

    def named(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries of the dataset, under the names that they have in this run."""
        return list(items)

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """The run begins, with these entries of the dataset."""

    def done(self, item: dict[str, Any]) -> bool:
        """Whether this case was finished by an earlier run."""
        return False

    def claim(self, item: dict[str, Any]) -> bool:
        """Asked just before a case is loaded; False: another process does it."""
        return True

    def later(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Asked at the end about cases that were not claimed: those to try again. It may wait for other processes."""
        return []

    def loaded(self, case: Case) -> None:
        """The scan was read, on the loading thread; raise to let the case fail."""

    def predicted(self, case: Case) -> None:
        """The logits are there, on the grid of the preprocessed image; raise to let the case fail."""

    def completed(self, case: Case) -> None:
        """Labels are on the source grid: write files by `case.staged`; raise to let the case fail."""

    def replacing(self, case: Case) -> None:
        """All files are written and about to take their places; raise to let the case fail."""

    def ended(self, case: Case) -> None:
        """The case is over, whether it failed (`case.error`) or not."""

    def finish(self, evaluator: ScanEvaluator) -> None:
        """The run is over."""


class _Network(Protocol):
    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


class ScanEvaluator:
    """Takes every scan of a dataset through transforms, network and handlers; what fails is noted, and the next one goes on.

    MONAI's `SupervisedEvaluator` ends with the first scan that cannot be read, runs loading, network and writing one after
    the other, and knows nothing of runs that are resumed. Here the next scan loads and the last one is written while the
    network works, where the memory budget has room for both.

    Args:
        device: where the network runs.
        dataset: MONAI dataset whose `data` are entries of `bundle.data.scans.find_scans` and whose `transform` is the
            preprocessing; its transforms run one by one.
        network: what maps a batch to logits; an `AttentionUnet` or an exported one.
        inferer: how the network sees a volume.
        postprocessing: transforms that make a label map from the logits `pred`.
        val_handlers: what writes results, in this order.
        flips: average over the mirror image as well, and note how far the two disagree.
        attention: keep the coefficients of the network's gates.
        memory_gb: memory in GB for the whole process; None: no limit on overlapping the stages.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        dataset: Any,
        network: _Network,
        inferer: Inferer,
        postprocessing: Any,
        val_handlers: Sequence[CaseHandler] = (),
        flips: bool = False,
        attention: bool = False,
        memory_gb: float | None = None,
    ) -> None:
        self.device, self.dataset, self.network, self.inferer = torch.device(device), dataset, network, inferer
        self.postprocessing, self.handlers = postprocessing, list(val_handlers)
        self.flips, self.attention, self.memory_gb = flips, attention, memory_gb
        self.cases: list[Case] = []
        self.interrupted = False
        self.problems: list[str] = []

    @property
    def failed(self) -> list[Case]:
        """The cases of this run that failed."""
        return [case for case in self.cases if case.error is not None]

    def run(self) -> list[Case]:
        """Work through the dataset; return the cases of this run, without their voxels."""
        items = list(self.dataset.data)
        for handler in self.handlers:
            items = handler.named(items)
        for handler in self.handlers:
            handler.start(self, items)
        todo = [item for item in items if not any(handler.done(item) for handler in self.handlers)]
        self.cases, self.problems, self.interrupted = [], [], False
        try:
            while todo:
                skipped = [case for case in self._through_network(todo) if case.skipped]
                todo = [item for handler in self.handlers for item in handler.later([case.item for case in skipped])]
                self._leave([case for case in skipped if case.item not in todo])
        except KeyboardInterrupt:
            self.interrupted = True
            raise
        finally:
            for handler in self.handlers:
                self._finish(handler)
        return self.cases

    def _leave(self, cases: list[Case]) -> None:
        """End the cases of other processes; one that is not finished by now counts as failed."""
        for case in cases:
            if not any(handler.done(case.item) for handler in self.handlers):
                problem = "another process has claimed it for this folder and has not finished it"
                case.error = UserError(case.source, problem, "run the same command again when that process has ended")
            self._end_all(case)

    def _finish(self, handler: CaseHandler) -> None:
        # a table that cannot be written takes nothing from the results
        try:
            handler.finish(self)
        except Exception as error:
            logger.debug("%s could not finish", type(handler).__name__, exc_info=error)
            self.problems.append(reason(error))
            print(f"error: {spelled(reason(error))}", file=sys.stderr, flush=True)

    def finalize(self) -> None:
        """End the process with exit code 1 when a case failed; `run` itself raises nothing, so that notebooks can look on."""
        if self.failed or self.problems:
            sys.exit(1)

    def _through_network(self, items: list[dict[str, Any]]) -> Iterator[Case]:
        """The three stages; loading is one case ahead and writing one behind where memory has room."""
        with ThreadPoolExecutor(1, "load") as loader, ThreadPoolExecutor(1, "write") as writer:
            ahead: Future[Case] | None = None
            behind: Future[Case] | None = None
            for index, item in enumerate(items):
                case = ahead.result() if ahead else self._load(item)
                overlap = room_to_overlap(case.scan, self.memory_gb)
                following = items[index + 1] if index + 1 < len(items) else None
                ahead = loader.submit(self._load, following) if overlap and following else None
                with reserved(beside_the_network(case.scan) if overlap else 0.0):
                    self._predict(case)
                if behind:
                    yield behind.result()
                behind = writer.submit(self._write, case) if overlap else None
                if not behind:
                    yield self._write(case)
                del case
            if behind:
                yield behind.result()

    def _load(self, item: dict[str, Any]) -> Case:
        case = Case(item)
        with case.timed("load"), _noting_failure(case):
            case.skipped = not all(handler.claim(item) for handler in self.handlers)
            if case.skipped:
                return case
            if item.get("problem"):
                raise UserError(case.source, item["problem"], item.get("fix", "copy or export it again"))
            data: dict[str, Any] = dict(item)
            for transform in self._steps():
                data = transform(data)
                if isinstance(transform, LoadImaged):
                    # later steps make new tensors: this one stays as it was loaded
                    case.scan = data["image"]
                    for handler in self.handlers:
                        handler.loaded(case)
            case.data = data
        return case

    def _steps(self) -> Sequence[Any]:
        transform = self.dataset.transform
        return getattr(transform, "transforms", (transform,))

    def _predict(self, case: Case) -> None:
        if case.error is not None or case.skipped:
            return
        with case.timed("network"), _noting_failure(case):
            predict(case, self.network, self.inferer, self.device, flips=self.flips, attention=self.attention)
            for handler in self.handlers:
                handler.predicted(case)

    def _write(self, case: Case) -> Case:
        if case.error is None and not case.skipped:
            with _noting_failure(case):
                with case.timed("restore"):
                    case.data = self.postprocessing(case.data)
                with case.timed("write"):
                    for handler in self.handlers:
                        handler.completed(case)
                    for handler in self.handlers:
                        handler.replacing(case)
                    case.publish()
        case.release()
        if not case.skipped:
            self._end_all(case)
        return case

    def _end_all(self, case: Case) -> None:
        for handler in self.handlers:
            self._end(handler, case)
        self.cases.append(case)

    def _end(self, handler: CaseHandler, case: Case) -> None:
        # what cannot be recorded counts as failed: the next run does it again
        try:
            handler.ended(case)
        except Exception as error:
            logger.debug("case %s could not be ended", case.name, exc_info=error)
            case.error = case.error or error.with_traceback(None)


class _noting_failure:
    """Keeps the error of a block in the case; interrupts and exits pass."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        logger.debug("case %s failed", self.case.name, exc_info=error)
        self.case.error = error.with_traceback(None)
        self.case.release()
        return True
