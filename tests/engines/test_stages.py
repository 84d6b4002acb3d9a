"""The stages of scan after scan: which of them overlap."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from light_evaluator import evaluator, scans

from bundle.data.scans import find_scans
from bundle.engines import CaseHandler
from bundle.tables import read_csv

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return scans(tmp_path / "data", NAMES)


class Order(CaseHandler):
    """Notes what happens to which case in which order and thread; the network waits until what overlaps with it has happened."""

    def __init__(self, overlapping: bool) -> None:
        self.order: list[str] = []
        self.threads: dict[str, set[int]] = {"loaded": set(), "predicted": set(), "ended": set()}
        self.happened = threading.Condition()
        self.awaited = {"a": "loaded b", "b": "ended a"} if overlapping else {}

    def _note(self, what: str, case) -> None:
        with self.happened:
            self.order.append(f"{what} {case.name}")
            self.threads[what].add(threading.get_ident())
            self.happened.notify_all()

    def loaded(self, case) -> None:
        self._note("loaded", case)

    def predicted(self, case) -> None:
        with self.happened:
            self.happened.wait_for(lambda: self.awaited.get(case.name, self.order[0]) in self.order, timeout=20)
        self._note("predicted", case)

    def ended(self, case) -> None:
        self._note("ended", case)


def test_loading_is_one_ahead_and_writing_one_behind(tmp_path: Path, data: Path) -> None:
    seen = Order(overlapping=True)
    evaluator(data, tmp_path / "out", seen).run()
    order, threads = seen.order, seen.threads
    assert len(threads["predicted"]) == 1 and not threads["predicted"] & threads["ended"]
    assert order.index("loaded b") < order.index("predicted a"), "b loads while the network works on a"
    assert order.index("ended a") < order.index("predicted b"), "a is written while the network works on b"
    assert order.index("loaded d") > order.index("predicted b"), "not more than one ahead"


def test_without_room_one_stage_follows_the_other(tmp_path: Path, data: Path) -> None:
    seen = Order(overlapping=False)
    evaluator(data, tmp_path / "out", seen, memory_gb=0.001).run()
    assert seen.order == [f"{what} {name}" for name in NAMES for what in ("loaded", "predicted", "ended")]


class Notes(CaseHandler):
    """Keeps what was noted about each case."""

    def __init__(self) -> None:
        self.of: dict[str, list] = {}

    def ended(self, case) -> None:
        self.of[case.name] = case.notes


def test_what_speaks_against_a_scan_is_a_reason_to_review_it(tmp_path: Path, data: Path) -> None:
    seen = Notes()
    items = find_scans(data)
    items[1]["doubt"] = "x.dcm in its folder cannot be read"
    evaluator(data, tmp_path / "out", seen, items=items).run()
    (row,) = (row for row in read_csv(tmp_path / "out/cases.csv") if row["case"] == "b")
    assert "x.dcm in its folder" in row["reasons"] and row["review"] == "yes"
    assert [[words for _, words in seen.of[name]] for name in NAMES] == [[], ["x.dcm in its folder cannot be read"], [], []]


class Offers(CaseHandler):
    """Would take at the end every case that was not claimed."""

    def later(self, items):
        return list(items)


class Declines(CaseHandler):
    """Leaves one case to others."""

    def claim(self, item) -> bool:
        return item["case"] != "b"


def test_what_one_handler_declines_is_not_offered_by_another(tmp_path: Path, data: Path) -> None:
    seen = Order(overlapping=False)
    engine = evaluator(data, tmp_path / "out", Offers(), Declines(), seen, memory_gb=0.001)
    engine.run()
    assert [line for line in seen.order if line.startswith("predicted")] == ["predicted a", "predicted c", "predicted d"]
    (failed,) = [case for case in engine.cases if case.error is not None]
    assert failed.name == "b" and "another process has claimed it" in str(failed.error)
