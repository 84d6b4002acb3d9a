"""The stages of scan after scan: which of them overlap."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from light_evaluator import evaluator, scan

from bundle.engines import CaseHandler

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        scan(tmp_path / "data" / f"{name}.nii", 3 + number)
    return tmp_path / "data"


def test_loading_is_one_ahead_and_writing_one_behind(tmp_path: Path, data: Path) -> None:
    order: list[str] = []
    threads: dict[str, set[int]] = {"loaded": set(), "predicted": set(), "ended": set()}

    class Order(CaseHandler):
        def _note(self, what: str, case) -> None:
            order.append(f"{what} {case.name}")
            threads[what].add(threading.get_ident())

        def loaded(self, case) -> None:
            self._note("loaded", case)

        def predicted(self, case) -> None:
            time.sleep(0.1)
            self._note("predicted", case)

        def ended(self, case) -> None:
            self._note("ended", case)

    evaluator(data, tmp_path / "out", Order()).run()
    assert len(threads["predicted"]) == 1 and not threads["predicted"] & threads["ended"]
    assert order.index("loaded b") < order.index("predicted a"), "b loads while the network works on a"
    assert order.index("ended a") < order.index("predicted b"), "a is written while the network works on b"
    assert order.index("loaded d") > order.index("predicted b"), "not more than one ahead"
    order.clear()
    evaluator(data, tmp_path / "out2", Order(), memory_gb=0.001).run()
    assert order == [f"{what} {name}" for name in NAMES for what in ("loaded", "predicted", "ended")]
