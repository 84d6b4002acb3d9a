"""What the console says while a folder is segmented."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bundle.distributed import rank, size
from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import counted, reason, say
from bundle.files import spelled
from bundle.results import outputs


class Console(CaseHandler):
    """Says in plain words what happens: what was found, cases done and time left, what failed and why, what to look at next.

    On a terminal a bar moves; in a log file each case is a line with the time. Of several processes that torchrun started the first
    one says what was found and what to look at, and each names its own cases.

    Args:
        output_dir: folder of the results.
        result: what is written for each scan, in one word or two that take an s.
        errors: the file in the folder that has the errors.
    """

    def __init__(self, output_dir: str | os.PathLike, result: str = "label map", errors: str = outputs.RECORD) -> None:
        self.result, self.errors = result, errors
        self.folder = Path(output_dir).expanduser()
        self.output_dir = spelled(self.folder)
        self.bar: tqdm | None = None
        self.earlier = self.todo = 0
        self.began = 0.0
        self.over: list[Case] = []
        self.engine: ScanEvaluator | None = None
        self.who = f"process {rank()}: " if size() > 1 else ""

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Say how many scans there are, how many are already done, and what was left alone."""
        self.began, self.over, self.engine = time.monotonic(), [], evaluator
        self.earlier = sum(evaluator.done(item) for item in items)
        self.todo = len(items) - self.earlier
        if rank() > 0:
            return
        text = f"{counted(len(items), 'scan')} found"
        if self.earlier:
            text += f", {self.earlier} of them finished by an earlier run"
        say(f"{text}; results go to {self.output_dir}")
        for line in getattr(getattr(evaluator.dataset, "data", None), "left_alone", ()):
            say(line)
        if self.todo and sys.stderr.isatty() and not self.who:
            self.bar = tqdm(total=self.todo, unit="scan", desc="scans", file=sys.stderr)

    def arrived(self, items: Sequence[dict[str, Any]]) -> None:
        """Say how many scans have come."""
        engine, known = self.engine, {case.name for case in self.over}
        assert engine is not None, "scans arrive after the start"
        done = sum(str(item["case"]) not in known and engine.done(item) for item in items)
        self.earlier += done
        self.todo += len(items) - done
        say(f"{counted(len(items), 'scan')} arrived" + (f", {done} of them finished by an earlier run" if done else ""))
        if self.bar is not None:
            self.bar.total = self.todo
            self.bar.refresh()

    def waiting(self) -> None:
        """Say that the run stays."""
        say("waiting for scans; Ctrl-C ends the run")

    def ended(self, case: Case) -> None:
        """Move the bar on, or write a line; name a failed case at once."""
        self.over.append(case)
        if self.bar is not None:
            if case.error is not None:
                with tqdm.external_write_mode():
                    say(f"failed: {case.name}: {_why(case.error)}")
            self.bar.update()
            return
        said = f"{self.result} written, {sum(case.seconds.values()):.1f} s"
        if case.error is not None:
            said = f"failed: {_why(case.error)}"
        elif case.skipped:
            said = "left to another process"
        if not (case.skipped and self.who):
            say(f"{time.strftime('%H:%M:%S')} {self.who}[{len(self.over)}/{self.todo}] {case.name}: {said}")

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Say what was written where, how many failed and why, and what to look at next."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        failed = [case for case in self.over if case.error is not None]
        skipped = sum(case.skipped for case in self.over)
        written = len(self.over) - len(failed) - skipped
        spent = f"{time.monotonic() - self.began:.0f} s"
        how = _stages(self.over) or ("nothing was finished" if self.todo else "nothing to do")
        say(f"{self.who}{counted(written, self.result)} written to {self.output_dir} in {spent} ({how})")
        if rank() > 0:
            return
        if len(self.over) < self.todo:
            say(f"stopped after {len(self.over)} of {counted(self.todo, 'scan')}: the same command does the others")
        if self.earlier:
            say(f"{counted(self.earlier, 'case')} of an earlier run left as {'it was' if self.earlier == 1 else 'they were'}")
        if skipped:
            say(f"{counted(skipped, 'case')} left to {'the others' if self.who else 'another process that works on this folder'}")
        if failed:
            say(f"{counted(len(failed), 'case')} failed (all errors are in {self.errors}):")
            for case in failed:
                # a user's mistake names the file itself
                why, source = _why(case.error), spelled(case.source)
                say(f"  {case.name}{'' if source in why else f' ({source})'}: {why}")
        if lacking := sum(case.error is None and bool(case.lacking) for case in self.over):
            say(f"pictures of {counted(lacking, 'case')} are missing (the warnings say why); run the same command again")
        self._what_next()

    def _what_next(self) -> None:
        """Where the page is, and how many of the folder's cases it asks a person to look at."""
        from bundle.quality.cases import read_cases_csv

        if not (self.folder / outputs.PAGE).is_file():
            return
        review = {row["case"]: row.get("review") == "yes" for row in read_cases_csv(self.folder)}
        number = sum(review.values())
        marked = f"{number} of {counted(len(review), 'case')}" if number else "no case"
        say(f"look at {spelled(self.folder / outputs.PAGE)}: {marked} marked for review")


def _why(error: Exception | None) -> str:
    return "" if error is None else spelled(reason(error))


def _stages(cases: Sequence[Case]) -> str:
    """Seconds for each stage over all cases."""
    total: Counter[str] = Counter()
    for case in cases:
        total.update(case.seconds)
    return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in total.items())
