"""Table, previews and page over the cases of a run: hands each case to `bundle.quality.cases`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle import labels as label_block
from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.engines.segmentation import case_result
from bundle.engines.sharing import Share
from bundle.files import locked, spelled
from bundle.quality.ranges import load_ranges
from bundle.results import outputs
from bundle.results.identity import source_of
from bundle.structures import colours
from bundle.transforms.restore_labels import restore_bytes

if TYPE_CHECKING:
    from bundle.quality.cases import CaseResult

# seconds to wait for another process that is writing the page
LOCKED = 600.0


class CaseReports(CaseHandler):
    """Measures cases for `cases.csv`, writes `index.html` and its pictures, and `<case>_attention.png` where attention was asked for.

    The rows go into the record of the case (`RunRecord`), which writes the table; its `finish` comes before this one's.

    Args:
        output_dir: folder of the results.
        labels: the `labels` block, name to value.
        previews: whether to draw `<case>_preview.png` and `<case>_slices.jpg`.
        reference_ranges: file of what is usual (verb `ranges`), to judge volumes and positions by; None: the literature's.
        structures: what the user says of structures (`bundle.structures.describe`): their colours.
        share: how the scans are shared out between processes, of which the last one writes the page; None: there is one.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        labels: label_block.Labels,
        previews: bool = True,
        reference_ranges: str | None = None,
        structures: Mapping[str, Any] | str | os.PathLike | None = None,
        share: Share | None = None,
    ) -> None:
        self.colours, self.share = colours(label_block.names(labels)[1:], structures), share
        self.output_dir, self.labels, self.previews = Path(output_dir).expanduser(), labels, previews
        self.reference_ranges = load_ranges(reference_ranges, labels)

    def completed(self, case: Case) -> None:
        """Measure the case and draw it."""
        from bundle.pictures.preview import preview
        from bundle.pictures.slices import slices
        from bundle.quality.cases import case_rows

        result = case_result(case, self.labels, spelled(source_of(case.item)), self.reference_ranges)
        result.colours = self.colours
        case.rows = case_rows(result)
        if self.previews:
            self._draw(case, "previews", outputs.preview(case.name), partial(preview, result))
            self._draw(case, "previews", outputs.slices(case.name), partial(slices, result))
        if case.attention:
            self._draw(case, "attention", outputs.attention_picture(case.name), partial(_draw_attention, case, result))

    def _draw(self, case: Case, option: str, name: str, draw: Callable[[Path], Path]) -> None:
        # a label map is worth more than its picture: a case does not fail for want of one
        try:
            with case.staged.written(self.output_dir / name) as aside:
                draw(aside)
        except Exception as error:
            case.no_picture(self.output_dir / name, option, error)

    def waiting(self) -> None:
        """Write the page over what there is so far."""
        write_page_alone(self.output_dir)

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Write the page over the folder, where this process is the one that ends last."""
        if self.share is None or self.share.ended:
            write_page_alone(self.output_dir)

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Make the output folder."""
        self.output_dir.mkdir(parents=True, exist_ok=True)


def write_page_alone(folder: Path) -> None:
    """Write the page, one process at a time: who writes it last has read the table that was written last."""
    from bundle.pictures.page import write_page

    if not (folder / outputs.RECORDS).is_dir():
        write_page(folder)
        return
    with locked(folder / outputs.RECORDS / ".lock", wait=LOCKED):
        write_page(folder)


def _draw_attention(case: Case, result: CaseResult, path: Path) -> Path:
    """The coefficients of each level, a mean over its gates, over the scan."""
    from bundle.pictures.attention_preview import attention_preview

    levels = {f"level {level}": restore_bytes(maps.mean(0), case.data["image"]) for level, maps in case.attention.items()}
    title = f"{case.name}: attention coefficients, mean over the gates of a level"
    image, labels, affine = result.to_show()
    return attention_preview(image, levels, path, title=title, affine=affine, labels=labels, structures=result.structures)
