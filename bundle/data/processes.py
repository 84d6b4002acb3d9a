"""One job after another in processes of their own, for what is made of many scans."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any


def in_processes(work: Callable[..., Any], calls: Sequence[tuple], jobs: int, begin: Callable | None = None) -> Generator[Any, None, None]:
    """What `work` gives for each tuple of arguments, in the order in which it is done; in this process where one is enough.

    After the first error, and where the iterator is closed (`contextlib.closing`), what has not begun is left. Otherwise an error would
    be said, and Ctrl-C would end it, after all of it.

    Args:
        work: a function of a module, as each process imports it.
        calls: the arguments of each call.
        jobs: processes.
        begin: what each of them calls first.
    """
    if jobs < 2 or len(calls) < 2:
        for call in calls:
            yield work(*call)
        return
    # spawn: forking a process that has started threads (torch, BLAS) may hang
    with ProcessPoolExecutor(min(jobs, len(calls)), get_context("spawn"), begin) as pool:
        try:
            for done in as_completed([pool.submit(work, *call) for call in calls]):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
