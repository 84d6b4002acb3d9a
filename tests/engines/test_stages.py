"""The stages of scan after scan: which of them overlap."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from light_evaluator import evaluator, logits, scans

from bundle.data.scans import find_scans
from bundle.engines import CaseHandler
from bundle.inferers import VolumeInferer, memory
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


@pytest.mark.parametrize(("least", "overlap"), [(0.5e9, True), (50e9, False)])
def test_what_the_network_needs_at_least_is_room_that_loading_does_not_take(tmp_path: Path, least: float, overlap: bool) -> None:
    class Knowing(VolumeInferer):
        def least_bytes(self, image, network) -> float:
            assert image.shape == (1, 1, 10, 9, 8)
            return least

        def __call__(self, inputs, network):
            return logits(inputs, network)

    reserved = []

    class Looks(CaseHandler):
        def predicted(self, case) -> None:
            reserved.append(memory._reserved.get())

    evaluator(scans(tmp_path / "data", NAMES), tmp_path / "out", Looks(), inferer=Knowing(), memory_gb=50.0).run()
    # six times 720 voxels of two bytes for the scan that is loaded meanwhile
    assert reserved == [6 * 1440.0 if overlap else 0.0] * 4


def test_a_scan_that_memory_has_no_room_for_is_one_case(tmp_path: Path, data: Path) -> None:
    """Of scans of 10x9x8 voxels: one that is as large as 20 GB, by the bytes that the network is said to take for each voxel."""
    out = tmp_path / "out"

    def inferer(volume, network):
        large = int((volume > 100).sum()) == 4
        VolumeInferer(precision="fp32", memory_gb=4.0, bytes_per_voxel=20e9 / 16**3 if large else 1.0)(volume, network)
        return logits(volume, network)

    engine = evaluator(data, out, inferer=inferer)
    engine.run()
    ((name, error),) = [(case.name, str(case.error)) for case in engine.failed]
    assert name == "b" and "memory_gb: 4 is too little: the process holds" in error and "16x16x16 voxels" in error
    assert {row["case"]: row["status"] for row in read_csv(out / "cases.csv")} == {"a": "ok", "b": "failed", "c": "ok", "d": "ok"}
    assert not (out / "b_seg.nii.gz").exists()


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


class LetsGo(CaseHandler):
    """Leaves b to another process, which lets go of it by the end; notes when it is asked, and about what."""

    def __init__(self, name: str, asked: list) -> None:
        self.name, self.asked, self.declined = name, asked, False

    def claim(self, item) -> bool:
        self.declined, before = True, self.declined
        return item["case"] != self.name or before

    def later(self, items):
        self.asked.append((self.name, [item["case"] for item in items]))
        return list(items)


class Waits(CaseHandler):
    """Has nothing, and would wait for ever if it were asked while there is something to do."""

    def __init__(self, seen: Order, asked: list) -> None:
        self.seen, self.asked = seen, asked

    def later(self, items):
        self.asked.append(("waits", [line for line in self.seen.order if line.startswith("ended")]))
        return []


def test_no_handler_is_asked_to_wait_while_another_has_a_case(tmp_path: Path, data: Path) -> None:
    asked: list = []
    seen = Order(overlapping=False)
    engine = evaluator(data, tmp_path / "out", LetsGo("a", asked), LetsGo("b", asked), Waits(seen, asked), seen, memory_gb=0.001)
    engine.run()
    assert not engine.failed and sorted(case.name for case in engine.cases) == list(NAMES)
    # a is done before b, and both before anybody waits
    assert asked == [("a", ["a"]), ("a", []), ("b", ["b"]), ("a", []), ("b", []), ("waits", [f"ended {name}" for name in "cdab"])]


def test_what_one_handler_declines_is_not_offered_by_another(tmp_path: Path, data: Path) -> None:
    seen = Order(overlapping=False)
    engine = evaluator(data, tmp_path / "out", Offers(), Declines(), seen, memory_gb=0.001)
    engine.run()
    assert [line for line in seen.order if line.startswith("predicted")] == ["predicted a", "predicted c", "predicted d"]
    (failed,) = [case for case in engine.cases if case.error is not None]
    assert failed.name == "b" and "another process has claimed it" in str(failed.error)
