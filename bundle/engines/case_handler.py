"""Ignite handlers that follow one scan after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events

from bundle.engines.case import Case
from bundle.engines.events import ScanEvents
from bundle.errors import UserError

if TYPE_CHECKING:
    from bundle.engines.evaluator import ScanEvaluator


class CaseHandler:
    """An Ignite handler whose methods are called at the events of a `ScanEvaluator`; a subclass overrides what it needs.

    `named`, `done`, `claim` and `later` are questions of the engine and give an answer; `arrived` and `waiting` are told by the engine
    while a folder is watched; the others are events.
    """

    def attach(self, engine: Engine) -> None:
        """Let the engine ask this handler and call its methods.

        Raises:
            UserError: the engine is another one, which knows nothing of scans.
        """
        if not hasattr(engine, "case_handlers"):
            problem = f"{type(self).__name__} follows the scans of a ScanEvaluator, and this engine is a {type(engine).__name__}"
            raise UserError("handlers", problem, "leave it out of this engine's val_handlers, or use bundle.engines.ScanEvaluator")
        engine.case_handlers.append(self)
        # not at STARTED: by then handlers such as MONAI's CheckpointLoader have done what they do at the start
        engine.add_event_handler(Events.EPOCH_STARTED, lambda engine: self.start(engine, engine.items))
        engine.add_event_handler(ScanEvents.SCAN_LOADED, lambda engine: self.loaded(engine.case))
        engine.add_event_handler(ScanEvents.SCAN_PREDICTED, lambda engine: self.predicted(engine.case))
        engine.add_event_handler(ScanEvents.SCAN_COMPLETED, lambda engine: self.completed(engine.case))
        engine.add_event_handler(ScanEvents.SCAN_REPLACING, lambda engine: self.replacing(engine.case))
        engine.add_event_handler(ScanEvents.SCAN_ENDED, lambda engine: self.ended(engine.case))
        engine.add_event_handler(ScanEvents.RUN_FINISHED, lambda engine: self.finish(engine))

    def named(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries of the dataset, under the names that they have in this run."""
        return list(items)

    def done(self, item: dict[str, Any]) -> bool:
        """Whether this case was finished by an earlier run."""
        return False

    def claim(self, item: dict[str, Any]) -> bool:
        """Asked just before a case is loaded; False: another process does it."""
        return True

    def later(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Asked at the end about cases that were not claimed: those to try again. It may wait for other processes."""
        return []

    def arrived(self, items: Sequence[dict[str, Any]]) -> None:
        """More entries came while the run was going on, under the names that they have in it; some may be done already."""

    def waiting(self) -> None:
        """All that is there is done, and the run stays for what may come: bring up to date what people look at."""

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """The run begins, with these entries of the dataset."""

    def loaded(self, case: Case) -> None:
        """The scan was read, on the loading thread; raise to let the case fail."""

    def predicted(self, case: Case) -> None:
        """The logits are there, on the grid of the preprocessed image; raise to let the case fail."""

    def completed(self, case: Case) -> None:
        """Labels are there (`case.label_map()`): write files by `case.staged`; raise to let the case fail."""

    def replacing(self, case: Case) -> None:
        """All files are written and about to take their places; raise to let the case fail."""

    def ended(self, case: Case) -> None:
        """The case is over, whether it failed (`case.error`) or not."""

    def finish(self, evaluator: ScanEvaluator) -> None:
        """The run is over."""
