"""A run that stays: it takes the scans that come into a folder until it is ended."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from bundle import distributed
from bundle.channels import Block
from bundle.data.scans.arrivals import Arrivals
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError
from bundle.results.parts import part_of


class Watch(CaseHandler):
    """Waits for scans where a run would end, so that network and weights stay loaded for the next.

    While nothing is to do, tables and page are up to date. Ctrl-C ends the waiting, and the run as if its last scan had come; during
    a scan it interrupts, as in any run.

    Args:
        dataset_dir: folder that scans come into.
        output_dir: folder of the results, which is not searched.
        watch: off, this handler does nothing.
        idle: seconds without a new scan after which the run ends; None waits for ever.
        part: of a run in parts, which cannot watch.
        settle: seconds that a scan's files must stay unchanged before it is taken.
        poll: seconds between two looks at the folder.
        channels: the `channels` block: of several, a scan is taken when all are there.

    Raises:
        UserError: watching with several processes or parts, or of something that is no folder.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike,
        output_dir: str | os.PathLike,
        watch: bool = False,
        idle: float | None = None,
        part: str | None = None,
        settle: float = 5.0,
        poll: float = 1.0,
        channels: Block = None,
    ) -> None:
        self.watch, self.idle, self.poll = watch, idle, poll
        self.engine: ScanEvaluator | None = None
        if not watch:
            return
        if distributed.size() > 1 or part_of(part).count > 1:
            raise UserError("watch", "one process watches a folder, and this run has several", "leave out watch, or torchrun and part")
        self.arrivals = Arrivals(dataset_dir, leave_out=output_dir, settle=settle, channels=channels)

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Know the engine that takes the scans.

        Raises:
            UserError: the config names scans itself.
        """
        self.engine = evaluator
        if self.watch and items:
            raise UserError("watch", "these configs name their scans, so that none can arrive", "leave it out")

    def later(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Wait for scans; none when the time is over or somebody ends the waiting."""
        if not self.watch or self.engine is None:
            return []
        # of what has come all may be finished already, as when a run is started again
        while new := self._next(self.engine):
            if todo := self.engine.admit(new):
                return todo
        return []

    def _next(self, engine: ScanEvaluator) -> list[dict[str, Any]]:
        """What comes next; nothing when the time is over or somebody ends the waiting."""
        try:
            engine.await_scans()
            since = time.monotonic()
            while not (new := self.arrivals.new()):
                if self.idle is not None and time.monotonic() - since >= self.idle:
                    return []
                time.sleep(self.poll)
        except KeyboardInterrupt:
            return []
        return new
