"""What happens to a scan on its way, as Ignite events, and which of its handlers may cost what."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ignite.engine import EventEnum, Events
from monai.engines.utils import IterationEvents

from bundle.engines.case import noting_failure
from bundle.errors import reason, say
from bundle.files import spelled

if TYPE_CHECKING:
    from bundle.engines.evaluator import ScanEvaluator


class ScanEvents(EventEnum):
    """Events of a `ScanEvaluator` besides Ignite's and MONAI's; `engine.case` is the scan that an event is about.

    Scans overlap: the next one is loaded and the last one is written while the network works, each in a thread of its own. What
    is fired there is fired in that thread. What a handler raises lets that scan fail, and nothing else.

    - `SCAN_LOADED`: the scan was read (`engine.case.scan`); loading thread.
    - `SCAN_PREDICTED`: logits are there (`engine.case.data["pred"]`), on the grid of the preprocessed image.
    - `SCAN_COMPLETED`: labels are there: handlers write files by `engine.case.staged`; writing thread, as all that follow.
    - `SCAN_REPLACING`: all files are written and about to take their places.
    - `SCAN_FAILED`: the scan failed (`engine.case.error`); `SCAN_ENDED` follows.
    - `SCAN_ENDED`: the scan is over, whether it failed or not.
    - `RUN_FINISHED`: the run is over, also after Ctrl-C, when `Events.COMPLETED` is not fired.
    """

    # Ignite compares events by these names: none may be the name of one of its own
    SCAN_LOADED = "scan_loaded"
    SCAN_PREDICTED = "scan_predicted"
    SCAN_COMPLETED = "scan_completed"
    SCAN_REPLACING = "scan_replacing"
    SCAN_FAILED = "scan_failed"
    SCAN_ENDED = "scan_ended"
    RUN_FINISHED = "run_finished"


# a scan that has failed passes these by, and what a handler raises there lets the scan fail
OF_AN_ITERATION = frozenset(
    {
        Events.GET_BATCH_COMPLETED,
        Events.ITERATION_STARTED,
        IterationEvents.FORWARD_COMPLETED,
        IterationEvents.MODEL_COMPLETED,
        Events.ITERATION_COMPLETED,
    }
)
# who listens to these sees the postprocessed labels, so that they cannot be made one scan behind
SEES_LABELS = frozenset({IterationEvents.MODEL_COMPLETED, Events.ITERATION_COMPLETED})


def guarded(engine: ScanEvaluator, event: Any, handler: Callable) -> Callable:
    """A handler of an event in such a form that what it raises costs no more than it must; most come back as they are."""
    calls: dict[EventEnum, Callable[[ScanEvaluator, Callable[[], None]], None]]
    calls = {ScanEvents.SCAN_FAILED: _ended, ScanEvents.SCAN_ENDED: _ended, ScanEvents.RUN_FINISHED: _finished}
    calls |= dict.fromkeys(OF_AN_ITERATION, _in_an_iteration) | {Events.EPOCH_COMPLETED: _of_the_epoch}
    call = calls.get(event)
    if call is None:
        return handler
    # as Ignite does: an engine is not kept alive by its handlers
    of = weakref.ref(engine)

    def guard(*args: Any, **kwargs: Any) -> None:
        alive = of()
        assert alive is not None, "its events are fired by the engine itself"
        call(alive, lambda: handler(*args, **kwargs))

    # for Ignite, which looks at the signature, and finds handlers again to remove them
    vars(guard).update(__wrapped__=handler, _parent=lambda: handler)
    return guard


def _in_an_iteration(engine: ScanEvaluator, call: Callable[[], None]) -> None:
    case = engine.case
    if case is None:
        call()
    elif case.error is None:
        with noting_failure(case):
            call()


def _ended(engine: ScanEvaluator, call: Callable[[], None]) -> None:
    # what cannot be recorded counts as failed: the next run does it again
    case = engine.case
    assert case is not None, "a scan ends while the events are about it"
    try:
        call()
    except Exception as error:
        engine.log.debug("case %s could not be ended", case.name, exc_info=error)
        case.error = case.error or error.with_traceback(None)


def _of_the_epoch(engine: ScanEvaluator, call: Callable[[], None]) -> None:
    # a mean over no scan is none: metrics of MONAI and Ignite raise then
    if engine.state.iteration:
        call()


def _finished(engine: ScanEvaluator, call: Callable[[], None]) -> None:
    # a table that cannot be written takes nothing from the results
    try:
        call()
    except Exception as error:
        engine.log.debug("a handler could not finish", exc_info=error)
        engine.problems.append(reason(error))
        say(f"error: {spelled(reason(error))}", sys.stderr)
