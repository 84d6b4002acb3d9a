"""What the console says while a folder is segmented."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from bundle.handlers.run_record import reason
from bundle.inferers.case import Case
from bundle.inferers.evaluator import CaseHandler, ScanEvaluator


class Console(CaseHandler):
    """Says in plain words what happens: cases done and time left, what failed and why, what was written where.

    Args:
        output_dir: folder of the results.
    """

    def __init__(self, output_dir: str | os.PathLike) -> None:
        self.output_dir = os.fspath(output_dir)
        self.bar: tqdm | None = None
        self.earlier = 0
        self.began = 0.0

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Say how many scans there are and how many are already done."""
        self.began = time.monotonic()
        self.earlier = sum(any(handler.done(item) for handler in evaluator.handlers) for item in items)
        text = f"{_count(len(items), 'scan')} found"
        if self.earlier:
            text += f", {self.earlier} of them finished by an earlier run"
        print(f"{text}; results go to {self.output_dir}", flush=True)
        # fewer lines where the output is a log file
        calm = {} if sys.stderr.isatty() else {"mininterval": 30}
        self.bar = tqdm(total=len(items) - self.earlier, unit="scan", desc="segmenting", file=sys.stderr, **calm)

    def ended(self, case: Case) -> None:
        """Move the bar on; name a failed case at once."""
        if case.error is not None:
            tqdm.write(f"failed: {case.name}: {reason(case.error)}", file=sys.stdout)
        if self.bar is not None:
            self.bar.update()

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Say what was written where, how many failed and why."""
        if self.bar is not None:
            self.bar.close()
        failed = evaluator.failed
        written = len(evaluator.cases) - len(failed)
        seconds = time.monotonic() - self.began
        print(f"{_count(written, 'label map')} written to {self.output_dir} in {seconds:.0f} s ({self._kinds(evaluator)})")
        if self.earlier:
            print(f"{_count(self.earlier, 'case')} of an earlier run left as they were")
        if failed:
            print(f"{_count(len(failed), 'case')} failed (all errors are in run.json):")
            for case in failed:
                # a user's mistake names the file itself
                where = "" if case.source in reason(case.error) else f" ({case.source})"
                print(f"  {case.name}{where}: {reason(case.error)}")
        sys.stdout.flush()

    @staticmethod
    def _kinds(evaluator: ScanEvaluator) -> str:
        """Seconds for each stage over all cases."""
        total: Counter[str] = Counter()
        for case in evaluator.cases:
            total.update(case.seconds)
        return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in total.items()) or "nothing to do"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
