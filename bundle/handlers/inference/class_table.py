"""`classes.csv`: which class each scan of a folder has, how sure the network is, and whether a person should look."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.errors import UserError, reason
from bundle.files import locked, spelled
from bundle.handlers.inference.case_names import named_apart
from bundle.handlers.inference.segmentation_writer import write_attention
from bundle.results import outputs
from bundle.results.identity import source_of
from bundle.tables import read_table, write_csv
from bundle.transforms.restore_labels import restore_bytes

logger = logging.getLogger(__name__)

FIRST = ("case", "source", "status", "class", "probability")
LAST = ("review", "reasons", "weights", "seconds", "error")
# seconds between two writings of the table while a run goes on
EVERY = 10.0
# seconds to wait for another part that is writing it
LOCKED = 60.0


class ClassTable(CaseHandler):
    """Writes `classes.csv`, a row per scan, and where attention was asked for `<case>_attention_level3.nii.gz` (and 4) and a picture.

    Columns: case, source, status, class (the most probable), probability (its), p_<class> for each, review and reasons, weights (the
    first digits of their digest), seconds, error. The table is written every ten seconds and at the end, whole at any moment. Rows of
    cases of earlier runs stay, and so do those that other parts of this run write meanwhile: a scan whose name is that of another one's row
    gets another name. A scan that fails keeps the class that it had, with the error beside it.

    Args:
        output_dir: folder of the results.
        classes: in the order of the network's outputs.
        weights: file of the weights.
        sure: a scan is for review where the probability of its class is below this.

    Raises:
        UserError: the folder has a table of other classes.
    """

    def __init__(
        self, output_dir: str | os.PathLike, classes: Sequence[str], weights: str | os.PathLike | None = None, sure: float = 0.8
    ) -> None:
        from bundle.networks.weights import file_digest

        self.output_dir, self.classes, self.sure = Path(output_dir).expanduser(), [str(name) for name in classes], float(sure)
        self.columns = [*FIRST, *(f"p_{name}" for name in self.classes), *LAST]
        self.digest = file_digest(weights)[:12] if weights is not None else ""
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.mine: dict[str, Mapping[str, Any]] = {}
        self._written, self.started = 0.0, False

    def named(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give each scan a name that no other one has in the table; a row whose source is gone is another scan's too."""
        return named_apart(items, self._rows_in(self.output_dir / outputs.CLASS_TABLE))

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Make the folder, and keep the rows of earlier runs."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self.mine, self.rows, self.started = {}, {}, False
        self._write_table(LOCKED)  # a folder that cannot be written to is found before the first scan

    def completed(self, case: Case) -> None:
        """Note the answer; write the maps."""
        probabilities = [float(value) for value in case.data["pred"]]
        best = int(np.argmax(probabilities))
        doubt = [f"probability {probabilities[best]:.2f}"] if probabilities[best] < self.sure else []
        case.rows = [
            {
                "class": self.classes[best],
                "probability": f"{probabilities[best]:.4f}",
                **{f"p_{name}": f"{value:.4f}" for name, value in zip(self.classes, probabilities, strict=True)},
                "review": "yes" if doubt else "no",
                "reasons": "; ".join(doubt),
            }
        ]
        image = case.data["image"]
        maps = {level: restore_bytes(alpha[0], image) for level, alpha in case.attention.items()}
        for level, values in maps.items():
            write_attention(self.output_dir, case, level, values)
        if maps:
            self._draw(case, maps)

    def _draw(self, case: Case, maps: Mapping[int, np.ndarray]) -> None:
        from bundle.pictures.attention_preview import attention_preview

        row = case.rows[0]
        title = f"{case.name}: {row['class']} ({float(row['probability']):.2f}), where the gates looked"
        levels = {f"level {level}": values for level, values in maps.items()}
        affine = np.asarray(case.data["image"].meta["original_affine"], dtype=np.float64)
        path = self.output_dir / outputs.attention_picture(case.name)
        try:
            with case.staged.written(path) as aside:
                attention_preview(np.asarray(case.loaded_scan().as_tensor()), levels, aside, affine=affine, title=title)
        except Exception as error:  # an answer is worth more than its picture
            case.no_picture(path, "attention", error)

    def ended(self, case: Case) -> None:
        """Add the row of a scan, failed ones too."""
        row = dict.fromkeys(self.columns, "") | {
            "case": case.name,
            "source": spelled(source_of(case.item)),
            "status": "ok" if case.error is None else "failed",
            "weights": self.digest,
            "seconds": f"{sum(case.seconds.values()):.2f}",
        }
        if case.error is None:
            row |= case.rows[0]
        else:
            before = self.rows.get(case.name, {})
            kept = {name: before.get(name, "") for name in self.columns if name in ("class", "probability", "weights") or name[:2] == "p_"}
            row |= (kept if kept["class"] else {}) | {"review": "yes", "reasons": "failed", "error": spelled(reason(case.error))}
        self.mine[case.name] = row

        if time.monotonic() - self._written > EVERY:
            self._write_table(0.0)

    def waiting(self) -> None:
        """Write the table, which may be behind."""
        self._write_table(LOCKED)

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Write the table."""
        self._write_table(LOCKED)

    def _write_table(self, wait: float) -> None:
        """Put the rows of this process into the table, where no other one is at it within `wait` seconds."""
        path = self.output_dir / outputs.CLASS_TABLE
        with locked(self.output_dir / f".{outputs.CLASS_TABLE}.lock", wait=wait) as alone:
            if not alone and not wait:
                return
            try:
                there = self._rows_in(path)
            except UserError as error:
                if not self.started:
                    raise
                # another program saved it meanwhile: answers are worth more than what it made of the table
                there = {}
                logger.warning("%s was changed while this run went on, and is written anew with its rows: %s", path, reason(error))
            self.rows = {**self.rows, **there, **self._mine_beside(there)}
            write_csv(path, self.columns, [self.rows[name] for name in sorted(self.rows)])
            self._written, self.started = time.monotonic(), True

    def _mine_beside(self, there: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """The rows of this process by name; where another one has taken a name meanwhile for another scan, with a digest behind it."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, row in self.mine.items():
            taken = name in there and os.path.realpath(there[name]["source"]) != os.path.realpath(row["source"])
            own = f"{name}_{hashlib.sha256(row['source'].encode('utf-8', 'replace')).hexdigest()[:8]}" if taken else name
            found[own] = {**row, "case": own}
        return found

    def _rows_in(self, path: Path) -> dict[str, Mapping[str, Any]]:
        fix = "give another --output_dir, or take the table away"
        rows = read_table(path, ("case",), fix) if path.is_file() else []
        if rows and list(rows[0]) != self.columns:
            known = ", ".join(name.removeprefix("p_") for name in rows[0] if name.startswith("p_"))
            raise UserError(path, f"it is of other classes ({known})", "give another --output_dir")
        return {row["case"]: row for row in rows}
