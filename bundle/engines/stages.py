"""The three stages that scan after scan goes through: loading, network, writing; which of them overlap, and what is kept meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from monai.transforms import LoadImaged

from bundle.engines.case import Case, noting_failure
from bundle.engines.events import ScanEvents
from bundle.errors import UserError
from bundle.inferers.memory import beside_the_network, room_to_overlap

if TYPE_CHECKING:
    from bundle.engines.evaluator import ScanEvaluator

# how grave a reason for a review it is that a slice may be missing (`bundle.quality.review.judge`)
DOUBT = 0.3


class Stages:
    """Loads the next scan and writes the last one while an engine has the network work on one, where memory has room for both.

    Args:
        engine: whose dataset, postprocessing and handlers count; it fires the events.

    Attributes:
        beside: bytes that the scans before and after this one take beside its network.
        begun: the first scan was asked for.
    """

    def __init__(self, engine: ScanEvaluator) -> None:
        self.engine = engine
        self.beside, self.begun = 0.0, False

    def scans(self) -> Generator[list[dict[str, Any]]]:
        """The batches of the run, each of one scan; between two of them the last one is written."""
        self.begun = True
        todo = [item for item in self.engine.items if not self.engine.done(item)]
        skipped: list[Case] = []
        while True:
            yield from self._through_network(todo, skipped)
            todo, skipped = self._later(skipped)
            if not todo:
                return

    def _later(self, skipped: list[Case]) -> tuple[list[dict[str, Any]], list[Case]]:
        """What a handler has at the end, and the cases that the handlers behind it are still to be asked about.

        Each is asked about its own: another would offer again and again what this one declines. A handler may wait when it is asked, so
        that none is while there is something to do.
        """
        for handler in self.engine.case_handlers:
            its = [case for case in skipped if case.declined_by is handler]
            skipped = [case for case in skipped if case.declined_by is not handler]
            todo = list(handler.later([case.item for case in its]))
            self._leave([case for case in its if case.item not in todo])
            if todo:
                return todo, skipped
        return [], []

    def _leave(self, cases: list[Case]) -> None:
        """End the cases of other processes; one that is not finished by now counts as failed."""
        for case in cases:
            if not self.engine.done(case.item):
                problem = "another process has claimed it for this folder and has not finished it"
                case.error = UserError(case.source, problem, "run the same command again when that process has ended")
            self._end(case)

    def _through_network(self, items: list[dict[str, Any]], skipped: list[Case]) -> Iterator[list[dict[str, Any]]]:
        """The three stages; loading is one case ahead and writing one behind where memory has room."""
        with ThreadPoolExecutor(1, "load") as loader, ThreadPoolExecutor(1, "write") as writer:
            ahead: Future[Case] | None = None
            behind: Future[None] | None = None
            for index, item in enumerate(items):
                case = ahead.result() if ahead else self._load(item)
                overlap = room_to_overlap(case.scan, self.engine.memory_gb, self._least(case))
                following = items[index + 1] if index + 1 < len(items) else None
                ahead = loader.submit(self._load, following) if overlap and following else None
                if case.skipped:
                    skipped.append(case)
                elif case.error is None:
                    self.beside = beside_the_network(case.scan) if overlap else 0.0
                    self.engine.be_about(case)
                    try:
                        yield [dict(case.data)]
                    finally:
                        self._take_back(case)
                        if self.engine.should_terminate and case.error is None and "pred" in case.data:
                            # a handler ended the run with this scan, which is as good as the others
                            if behind:
                                behind.result()
                            self._write(case)
                if behind:
                    behind.result()
                behind = writer.submit(self._write, case) if overlap else None
                if not behind:
                    self._write(case)
                del case
            if behind:
                behind.result()

    def _least(self, case: Case) -> float:
        """Memory in bytes that the network needs at least for a case, where it runs on the CPU and the inferer knows."""
        least, image = getattr(self.engine.inferer, "least_bytes", None), case.data.get("image")
        if least is None or self.engine.state.device.type != "cpu" or image is None or image.ndim != 4:
            return 0.0
        return least(image[None], self.engine.network)

    def _take_back(self, case: Case) -> None:
        """After the iteration: what handlers left as output is what is written; nothing else may hold on to the volumes."""
        output = self.engine.take_output()
        if case.restored and case.error is None and isinstance(output, list) and output and isinstance(output[0], dict):
            case.data |= output[0]

    def _load(self, item: dict[str, Any]) -> Case:
        case = Case(item)
        with case.timed("load"), noting_failure(case):
            case.declined_by = next((handler for handler in self.engine.case_handlers if not handler.claim(item)), None)
            if case.skipped:
                return case
            if item.get("problem"):
                raise UserError(case.source, item["problem"], item.get("fix", "copy or export it again"))
            if item.get("doubt"):
                case.notes.append((DOUBT, item["doubt"]))
            data: dict[str, Any] = dict(item)
            for transform in self._steps():
                data = transform(data)
                if isinstance(transform, LoadImaged) and "image" in transform.keys and case.scan is None:
                    # later steps make new tensors: this one stays as it was loaded
                    case.scan = _volume(data["image"], transform)
                    self.engine.fire_about(ScanEvents.SCAN_LOADED, case)
            case.data = data
        return case

    def _steps(self) -> Sequence[Any]:
        transform = self.engine.dataset.transform
        return getattr(transform, "transforms", (transform,))

    def restore(self, case: Case) -> None:
        """Make the label map of the logits."""
        with case.timed("restore"):
            if self.engine.postprocessing is not None:
                case.postprocess(self.engine.postprocessing)
            case.restored = True

    def _write(self, case: Case) -> None:
        if case.error is None and not case.skipped:
            with noting_failure(case):
                if not case.restored:
                    self.restore(case)
                with case.timed("write"):
                    self.engine.fire_about(ScanEvents.SCAN_COMPLETED, case)
                    self.engine.fire_about(ScanEvents.SCAN_REPLACING, case)
                    case.publish()
        case.release()
        if not case.skipped:
            self._end(case)

    def _end(self, case: Case) -> None:
        if case.error is not None:
            self.engine.fire_about(ScanEvents.SCAN_FAILED, case)
        self.engine.fire_about(ScanEvents.SCAN_ENDED, case)
        self.engine.cases.append(case)


def _volume(image: Any, loader: LoadImaged) -> Any:
    """The scan (X, Y, Z) of what was loaded: MONAI's loader gives (1, X, Y, Z) where it is asked for `ensure_channel_first`."""
    channels_first = getattr(getattr(loader, "_loader", None), "ensure_channel_first", False)
    return image[0] if channels_first and image.ndim == 4 else image
