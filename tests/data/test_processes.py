"""Jobs in processes of their own: results as they are done, the first error, and what had not begun by then."""

from __future__ import annotations

import os
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from bundle.data.processes import in_processes


def _quotient(first: int, second: int) -> tuple[float, int]:
    return first / second, os.getpid()


def _note(folder: str, number: int) -> int:
    Path(folder, str(number)).touch()
    time.sleep(0.2)
    if number == 0:
        raise ValueError("the first one")
    return number


def test_one_job_stays_in_this_process_and_several_do_not() -> None:
    assert list(in_processes(_quotient, [(6, 3), (1, 2)], 1)) == [(2.0, os.getpid()), (0.5, os.getpid())]
    assert list(in_processes(_quotient, [(6, 3)], 2)) == [(2.0, os.getpid())] and list(in_processes(_quotient, [], 2)) == []
    found = list(in_processes(_quotient, [(6, 3), (1, 2)], 2))
    assert sorted(value for value, _ in found) == [0.5, 2.0] and os.getpid() not in {process for _, process in found}


def test_after_an_error_what_has_not_begun_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the first one"):
        list(in_processes(partial(_note, str(tmp_path)), [(number,) for number in range(40)], 2))
    assert 1 <= len(list(tmp_path.iterdir())) < 20


def test_where_nobody_takes_the_results_what_has_not_begun_is_left(tmp_path: Path) -> None:
    with closing(in_processes(partial(_note, str(tmp_path)), [(number,) for number in range(1, 41)], 2)) as results:
        next(results)
    assert 1 <= len(list(tmp_path.iterdir())) < 20
