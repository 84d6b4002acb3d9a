"""Handlers that follow one scan after the other: what they are called with, and which engine they need."""

from __future__ import annotations

from pathlib import Path

import pytest
from ignite.engine import Engine
from light_evaluator import evaluator, scan

from bundle.engines import CaseHandler, finalize
from bundle.errors import UserError


def test_the_bundle_s_handlers_say_that_they_need_its_engine(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Order follows the scans of a ScanEvaluator, and this engine is a Engine"):
        type("Order", (CaseHandler,), {})().attach(Engine(lambda engine, batch: None))
    finalize(Engine(lambda engine, batch: None))


class Calls(CaseHandler):
    """Notes each call that a handler may get."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        for name in ("named", "done", "claim", "later", "start", "loaded", "predicted", "completed", "replacing", "ended", "finish"):
            setattr(self, name, self._noting(name, getattr(self, name)))

    def _noting(self, name, original):
        def call(*arguments):
            self.seen.append(name)
            return original(*arguments)

        return call


def test_questions_and_events_of_a_scan_in_their_order(tmp_path: Path) -> None:
    scan(tmp_path / "data" / "a.nii")
    handler = Calls()
    evaluator(tmp_path / "data", tmp_path / "out", handler).run()
    assert handler.seen == ["named", "start", "done", "claim", "loaded", "predicted", "completed", "replacing", "ended", "later", "finish"]


def test_at_replacing_the_files_are_not_in_their_places_and_at_the_end_they_are(tmp_path: Path) -> None:
    scan(tmp_path / "data" / "a.nii")
    there = []

    class Looks(CaseHandler):
        def replacing(self, case) -> None:
            there.append((tmp_path / "out" / "a_seg.nii.gz").is_file())

        ended = replacing

    evaluator(tmp_path / "data", tmp_path / "out", Looks()).run()
    assert there == [False, True]


def test_a_handler_that_overrides_nothing_changes_nothing() -> None:
    handler, items = CaseHandler(), [{"case": "a"}]
    assert handler.named(items) == items and handler.named(items) is not items
    assert not handler.done(items[0]) and handler.claim(items[0]) and handler.later(items) == []


def test_what_a_handler_calls_done_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        scan(tmp_path / "data" / f"{name}.nii")

    class Done(CaseHandler):
        def done(self, item) -> bool:
            return item["case"] == "a"

    assert [case.name for case in evaluator(tmp_path / "data", tmp_path / "out", Done()).run()] == ["b"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*_seg.nii.gz")) == ["b_seg.nii.gz"]
