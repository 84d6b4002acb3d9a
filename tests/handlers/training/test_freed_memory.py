"""Freed memory is kept from the beginning of a training to its end, or until that is too much."""

import psutil
import pytest
from ignite.engine import Engine

from bundle.handlers import FreedMemory
from bundle.handlers.training import freed_memory
from bundle.networks import AttentionUnet


@pytest.fixture
def said(monkeypatch):
    """What was asked of this process, on a machine of 100 bytes and with 40, 60 and 40 of them held after each step."""
    said, held = [], iter([40, 60, 40])
    monkeypatch.setattr(freed_memory, "keep_memory", lambda: said.append("keep"))
    monkeypatch.setattr(freed_memory, "stop_keeping", lambda: said.append("stop"))
    monkeypatch.setattr(freed_memory, "memory_limit", lambda: 100)

    class Process:
        def memory_info(self):
            return type("Memory", (), {"rss": next(held)})

    monkeypatch.setattr(psutil, "Process", Process)
    return said


def steps(handler, said):
    """What was asked when each step began, and at the end."""
    found = []
    engine = Engine(lambda _engine, _batch: found.append([*said]))
    handler.attach(engine)
    engine.run([0, 1, 2])
    return [*found, said]


def test_it_keeps_until_a_step_leaves_too_much(said):
    first, second, third, end = steps(FreedMemory("cpu"), said)
    assert first == second == ["keep"]
    assert third == ["keep", "stop"], "60 of 100 bytes are more than half"
    assert end == ["keep", "stop", "stop"], "once more at the end, where it does no harm"


def test_it_keeps_to_the_end_where_there_is_room(said):
    assert steps(FreedMemory("cpu", share=0.7), said)[-1] == ["keep", "stop"]


def test_processes_of_torchrun_share_the_memory(said, monkeypatch):
    monkeypatch.setattr(freed_memory, "local_size", lambda: 2)
    assert steps(FreedMemory("cpu", share=0.7), said)[1] == ["keep", "stop"], "40 bytes are more than half of 70"


@pytest.mark.parametrize("saves", [True, False])
def test_nothing_for_a_network_that_saves_memory(said, saves):
    network = AttentionUnet(3, 1, 2, (4, 6), checkpointing=saves)
    assert steps(FreedMemory("cpu", share=0.7, network=network), said)[-1] == ([] if saves else ["keep", "stop"])


def test_nothing_on_a_gpu(said):
    assert steps(FreedMemory("cuda:0"), said)[-1] == []
