"""Table, previews and page over the cases of a run: hands each case to `bundle.reports.cases`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bundle import labels as label_block
from bundle.handlers.run_record import reason
from bundle.inferers.case import Case
from bundle.inferers.evaluator import CaseHandler, ScanEvaluator
from bundle.reports.ranges import load_ranges
from bundle.transforms.keep_pieces import left_out
from bundle.transforms.restore_labels import restore_bytes

if TYPE_CHECKING:
    from bundle.reports.cases import CaseResult

logger = logging.getLogger(__name__)


class CaseReports(CaseHandler):
    """Writes `cases.csv`, `<case>_preview.png`, `index.html`, and `<case>_attention.png` where attention was asked for.

    Args:
        output_dir: folder of the results.
        labels: the `labels` block, name to value.
        previews: whether to draw previews.
        reference_ranges: file of what is usual (verb `ranges`), to judge volumes and positions by; None: the literature's.
    """

    def __init__(
        self, output_dir: str | os.PathLike, labels: label_block.Labels, previews: bool = True, reference_ranges: str | None = None
    ) -> None:
        names, values = label_block.names(labels), label_block.output_values(labels)
        self.output_dir, self.names, self.previews = Path(output_dir), names, previews
        self.structures = dict(zip(names[1:], values[1:], strict=True))
        self.reference_ranges = load_ranges(reference_ranges)
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def completed(self, case: Case) -> None:
        """Measure the case and draw it; its row is written when the case is over."""
        from bundle.reports.cases import CaseResult, case_rows, preview, preview_path

        labels = case.data["pred"]
        by_name = dict(zip(self.names, case.confidence, strict=False))
        result = CaseResult(
            name=case.name,
            source=case.source,
            image=np.asarray(case.scan.as_tensor()),
            labels=np.asarray(labels.as_tensor()[0]),
            affine=np.asarray(labels.affine, dtype=np.float64),
            structures=self.structures,
            confidence={name: by_name[name] for name in self.structures if by_name.get(name)},
            flip_disagreement=dict(zip(self.names[1:], case.flip_disagreement[1:], strict=False)) or None,
            left_out=left_out(labels, self.structures),
            seconds=dict(case.seconds),
            reference_ranges=self.reference_ranges,
        )
        self.rows[case.name] = case_rows(result)
        if self.previews:
            self._draw(case, preview_path(self.output_dir, case.name), partial(preview, result))
        if case.attention:
            path = self.output_dir / f"{case.name}_attention.png"
            self._draw(case, path, partial(_draw_attention, case, result))

    def _draw(self, case: Case, path: Path, draw: Callable[[Path], Path]) -> None:
        # a label map is worth more than its picture: a case does not fail for want of one
        try:
            draw(path)
        except Exception as error:
            logger.warning("%s could not be drawn: %s", path.name, error)
        else:
            case.files.append(path.name)

    def ended(self, case: Case) -> None:
        """Put the case's rows into the table."""
        from bundle.reports.cases import CaseResult, case_rows, preview_path, write_cases_csv

        rows = self.rows.pop(case.name, None)
        if case.error is not None:
            for path in (preview_path(self.output_dir, case.name), self.output_dir / f"{case.name}_attention.png"):
                path.unlink(missing_ok=True)
            rows = case_rows(CaseResult(name=case.name, source=case.source, error=reason(case.error)))
        write_cases_csv(self.output_dir, rows or [])

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Write the page over the folder."""
        from bundle.reports.cases import write_page

        write_page(self.output_dir)

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Make the output folder."""
        self.output_dir.mkdir(parents=True, exist_ok=True)


def _draw_attention(case: Case, result: CaseResult, path: Path) -> Path:
    """The coefficients of each level, a mean over its gates, over the scan."""
    from bundle.reports.attention_preview import attention_preview

    levels = {f"level {level}": restore_bytes(maps.mean(0), case.data["image"]) for level, maps in case.attention.items()}
    title = f"{case.name}: attention coefficients, mean over the gates of a level"
    places = {"affine": result.affine, "labels": result.labels, "structures": result.structures}
    return attention_preview(result.image, levels, path, title=title, **places)
