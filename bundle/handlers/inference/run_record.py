"""`run.json`: what was done with every scan of a folder of results, also across interruptions, runs and processes."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bundle import files
from bundle.engines.case import Case
from bundle.engines.case_handler import CaseHandler
from bundle.engines.evaluator import ScanEvaluator
from bundle.engines.sharing import Share
from bundle.errors import UserError, counted
from bundle.handlers.inference import case_entry
from bundle.handlers.inference.case_names import is_of, named_apart, warn_of_former_names
from bundle.handlers.inference.finished import Wanted, architecture, bytes_digest, details
from bundle.handlers.inference.run_tables import RunTables, rows_by_case
from bundle.networks.weights import weights_digest
from bundle.results import identity, outputs
from bundle.results.claims import Claims
from bundle.results.parts import whole_run
from bundle.results.records import Entry, Records, Shown, past

logger = logging.getLogger("bundle.inference")

# seconds to wait, at the end, for cases that other processes are doing, and between two looks
WAIT, POLL = 600.0, 1.0
# seconds to wait, at the end, for another process that is writing the tables
LOCKED = 600.0


class RunRecord(CaseHandler):
    """Keeps the records of a folder of results, and knows which cases an earlier run has finished.

    A case is finished when its label map and the other files are there, and were made of the same bytes by the same weights,
    labels and settings. Everything else is done again; the old files stay until the new ones are whole, and where the case
    fails now they stay, marked as of an earlier run.

    Args:
        output_dir: folder of the results.
        settings: what the results depend on, besides the weights: labels, spacing, ...
        weights: the file of the weights, or several files; their digest is among the settings.
        options: further files that were asked for, name to whether they are: a finished case that lacks one is done again.
        reference_ranges: file that volumes and positions are judged by; its digest is among the settings.
        shape_prior: file that label maps are cleaned by; likewise.
        calibration: file that makes the expected Dice what it was in scored scans; likewise.
        overwrite: do every case again.
        format: of the label maps, one of `outputs.LABEL_MAP_ENDINGS`.
        share: how the scans are shared out between processes; None: this process does all.
        structures: what the user says of structures (`bundle.structures.describe`): a finished case whose files hold other colours or
            codes is done again.
        dicom_seg_type: of DICOM SEG, likewise where it is asked for.

    Raises:
        UserError: the structures cannot be used.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike,
        settings: Mapping[str, Any] | None = None,
        weights: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
        options: Mapping[str, bool] | None = None,
        reference_ranges: str | os.PathLike | None = None,
        shape_prior: str | os.PathLike | None = None,
        calibration: str | os.PathLike | None = None,
        overwrite: bool = False,
        format: str = "nii.gz",
        share: Share | None = None,
        structures: Mapping[str, Any] | str | os.PathLike | None = None,
        dicom_seg_type: str = "binary",
    ) -> None:
        self.share = share or Share(output_dir, "1/1")
        self.folder = Path(output_dir).expanduser()
        self.weights, self.overwrite = weights, overwrite
        digests = {"weights": weights_digest(weights), "reference_ranges": bytes_digest(reference_ranges)}
        digests |= {"shape_prior": bytes_digest(shape_prior), "calibration": bytes_digest(calibration)}
        asked = sorted(name for name, on in (options or {}).items() if on)
        looks = details((settings or {}).get("labels"), structures, asked, format, dicom_seg_type)
        self.wanted = Wanted(self.folder, {**(settings or {}), **digests}, asked, format, looks)
        self.records = Records(self.folder)
        self.tables = RunTables(self.records)
        self.claims = Claims(self.records.hidden)
        self.finished: set[str] = set()
        self.unread: dict[str, str | None] = {}
        self.mine: dict[str, Entry] = {}
        self.names: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.items: list[str] = []
        self.failed_elsewhere: set[str] = set()
        self.started = ""

    def named(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Read the records, and give each entry a name that no other scan has in this folder.

        Raises:
            UserError: the folder cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(self.folder, "this is a file, not a folder", "give --output_dir a folder")
        try:
            self.records.open(lambda: rows_by_case(self.folder))
            self.claims.clear()
        except OSError as error:
            raise self._not_writable(error) from error
        self.hidden = past(self.folder, self.records, sees_scans=True)
        named = named_apart(items, Shown(self.records, self.hidden))
        warn_of_former_names(named, [entry for entry in self.records if entry["case"] not in self.hidden])
        self._note_names(items, named)
        return named

    def _note_names(self, items: Sequence[Mapping[str, Any]], named: Sequence[Mapping[str, Any]]) -> None:
        self.names |= {_mark(item): str(new["case"]) for item, new in zip(items, named, strict=True)}

    def start(self, evaluator: ScanEvaluator, items: Sequence[dict[str, Any]]) -> None:
        """Find out which cases are finished, and say why others are done again.

        Raises:
            UserError: the tables cannot be written.
        """
        self.wanted.settings["network"] = architecture(evaluator.network)
        # a handler such as MONAI's CheckpointLoader may have put others in the place of those of the file
        self.wanted.settings["weights"] = evaluator.loaded_weights() or self.wanted.settings["weights"]
        self.started = case_entry.now()
        self._look_for_finished(items)
        try:
            self.share.begin(self._run(finished=False))
            if self.share.keeps_tables:
                self._write_tables(self._run(finished=False))
        except OSError as error:
            raise self._not_writable(error) from error

    def arrived(self, items: Sequence[dict[str, Any]]) -> None:
        """Find out which of them an earlier run has finished."""
        self._look_for_finished(items)

    def waiting(self) -> None:
        """Write the tables, which may be behind."""
        with suppress(OSError):
            self._write_tables(self._run(finished=False))

    def _look_for_finished(self, items: Sequence[dict[str, Any]]) -> None:
        names = [str(item["case"]) for item in items]
        self.items = list(dict.fromkeys([*self.items, *names]))
        self.hidden -= set(names)
        self.finished -= set(names)
        again: Counter[str] = Counter()
        for item in items:
            why = self._why_again(item)
            if why == "":
                self.finished.add(str(item["case"]))
            elif why:
                again[why] += 1
        for why, count in again.most_common():
            logger.warning("%s: %s done again", why, counted(count, "case is", "cases are"))

    def done(self, item: dict[str, Any]) -> bool:
        """Whether an earlier run has finished this case, with the same content, weights and settings."""
        return str(item["case"]) in self.finished

    def claim(self, item: dict[str, Any]) -> bool:
        """Whether this case is still to do, and no other living process is doing it.

        A case whose name another run has given to another scan since this one began, as runs that begin together do, gets another one.
        """
        while self.claims.take(name := str(item["case"])):
            entry = self.records.reread(name)
            if entry is not None and not is_of(entry, item) and not past(self.folder, [entry], sees_scans=True):
                self.claims.give_back(name)
                self._rename(item)
                continue
            if not self._done_meanwhile(item):
                self.unread[name] = identity.as_written(item)
                return True
            self.claims.give_back(name)
            break
        return False

    def _rename(self, item: dict[str, Any]) -> None:
        before = str(item["case"])
        self.records.refresh()
        item["case"] = named_apart([item], self.records, self.items)[0]["case"]
        self.items = [item["case"] if name == before else name for name in self.items]
        self.names = {mark: item["case"] if name == before else name for mark, name in self.names.items()}

    def later(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the entries that nobody has finished, once another process has let go of one; waits while all are being done."""
        # torchrun sees to it that no process of one run waits for a dead one
        wait = WAIT if self.share.size == 1 else math.inf
        end, left, said = time.monotonic() + wait, list(items), False
        while left := [item for item in left if not self._done_meanwhile(item)]:
            if not all(self.claims.others(str(item["case"])) for item in left):
                return left  # with those that are still being done: they are not claimed again, and asked about again
            if time.monotonic() > end:
                return []
            if not said:
                logger.warning("waiting for %s that another process is doing", counted(len(left), "case"))
                said = True
            time.sleep(POLL)
        return []

    def loaded(self, case: Case) -> None:
        """Take the digest of the bytes that were just read, which the system still has in memory.

        Raises:
            UserError: they are not those that were there before, so that nobody knows which of them were read.
        """
        before = self.unread.pop(case.name, None)
        with suppress(OSError):
            found = identity.files_of(case.item)
            case.identity = {"stamp": identity.stamp(found), "digest": identity.scan_digest(case.item), "bytes": identity.size(found)}
        if before is not None and before != identity.as_written(case.item):
            raise UserError(case.source, "it changed while it was read", "run the same command again when it is whole")

    def replacing(self, case: Case) -> None:
        """Note that new files are about to take the place of those that the record lists."""
        if not case.identity:  # a transform that is not MONAI's LoadImaged has read the scan
            self.loaded(case)
        before = self.records.get(case.name)
        if before is not None:
            self.records.save({**before, "status": "replacing"})

    def ended(self, case: Case) -> None:
        """Record the case, whether it failed or not; clear away files of the earlier result that the new one does not have."""
        try:
            if not case.skipped:
                before = self.records.get(case.name)
                failed = case.error is not None
                entry = case_entry.failed(case, self.wanted, before) if failed else case_entry.written(case, self.wanted)
                self.records.save(entry)
                self.mine[case.name] = entry
                if not failed and before is not None:
                    case_entry.clear(self.folder, before, entry)
        finally:
            self.claims.give_back(case.name)
        if not case.skipped and self.share.keeps_tables and self.tables.note():
            # the record of the case is written: the tables are tried again with the next one, and at the end
            with suppress(OSError):
                self._write_tables(self._run(finished=False))

    def finish(self, evaluator: ScanEvaluator) -> None:
        """Note that the run came to its end; the process that ends last writes the tables.

        Raises:
            UserError: scans failed in another process of this run, for which this one gives the exit code.
        """
        self.claims.give_all_back()
        over = all(name in self.mine or name in self.finished for name in self.items)
        run = self._run(finished=True)
        if self.share.end(run, over):
            self.records.refresh()
            self.hidden = past(self.folder, self.records, sees_scans=True) - self.mine.keys()
            self._write_tables({**run, **whole_run(self.records.hidden)} if self.share.part.count > 1 else run)
        if self.failed_elsewhere and self.share.rank == 0:
            failed = counted(len(self.failed_elsewhere), "case")
            raise UserError(self.folder, f"{failed} failed in the other processes", f"see {outputs.RECORD} there for the reasons")

    def label_maps(self, items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """The label maps of these entries that are of this run's weights and settings, by the entries' `case`: what is scored.

        Raises:
            UserError: there are none.
        """
        found: dict[str, str] = {}
        self.records.refresh()
        others = [dict(item) for item in items if _mark(item) not in self.names]
        # those of other parts have the names that these gave them
        self._note_names(others, named_apart(others, Shown(self.records, self.hidden)))
        for item in items:
            entry = self.records.reread(self.names[_mark(item)])
            if entry is not None and entry["status"] == "ok" and not self.wanted.changed(entry) and entry.get("output"):
                path = self.folder / str(entry["output"])
                found |= {str(item["case"]): str(path)} if path.is_file() else {}
        if not found:
            raise UserError(self.folder, "no case could be segmented, so there is nothing to score", "see run.json there for the reasons")
        return found

    def _done_meanwhile(self, item: dict[str, Any]) -> bool:
        """Whether another process has finished the case since this run began."""
        entry = self.records.reread(str(item["case"]))
        if entry is None or entry.get("ended", "") < self.started or entry.get("process") == files.process():
            return False
        if not is_of(entry, item):
            return False
        if entry["status"] == "failed" and self.share.size > 1:
            # a scan that one process of a run could not do is not tried by each of them
            self.failed_elsewhere.add(entry["case"])
            self.finished.add(str(item["case"]))
            return True
        if entry["status"] != "ok":
            return False
        if self._why_again(item, overwrite=False) != "":
            return False
        self.finished.add(str(item["case"]))
        return True

    def _not_writable(self, error: OSError) -> UserError:
        problem = f"results cannot be written here ({error.strerror or error})"
        return UserError(self.folder, problem, "make room or the folder writable, or give another --output_dir")

    def _why_again(self, item: Mapping[str, Any], overwrite: bool | None = None) -> str | None:
        """Why a case that has a result is done again: empty where it is finished, None where there is no result."""
        entry = self.records.get(str(item["case"]))
        made = case_entry.result_in(entry)
        if made is None:
            return None
        if self.overwrite if overwrite is None else overwrite:
            return "overwrite is asked for"
        why = self.wanted.why_not(item, made)
        if why == "" and (result := case_entry.current(made, item)) is not entry:
            self.records.save(result)
        return why

    def _run(self, finished: bool) -> dict[str, Any]:
        """What `run.json` says of this run."""
        settings = self.wanted.settings | {"ckpt_path": _spelled(self.weights)}
        return {"settings": settings, "started": self.started, "finished": case_entry.now() if finished else None}

    def _write_tables(self, run: Mapping[str, Any]) -> None:
        self.tables.write(run, self.hidden, wait=LOCKED if run["finished"] else 0.0)


def _mark(item: Mapping[str, Any]) -> str:
    """What tells the entries of a run apart, before they have names that no other scan has in the folder."""
    return str(item["source"]) + str(item["case"])


def _spelled(weights: str | os.PathLike | Sequence[str | os.PathLike] | None) -> str | list[str] | None:
    """The path of the weights, or their paths, as text."""
    if weights is None or isinstance(weights, (str, os.PathLike)):
        return None if weights is None else files.spelled(weights)
    return [files.spelled(path) for path in weights]
