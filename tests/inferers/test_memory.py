"""Budgets of memory: what a container allows is less than what a user asks for, and counts."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import memory

CPU = torch.device("cpu")


def test_a_container_smaller_than_the_budget_counts(monkeypatch):
    taken = psutil.Process().memory_info().rss
    monkeypatch.setattr(memory, "_taken", lambda: taken)
    monkeypatch.setattr(memory, "memory_limit", lambda: 2e9)
    assert memory.free_bytes(3.5, CPU) == pytest.approx(0.95 * 2e9 - taken - 0.15e9)
    assert memory.free_bytes(1.5, CPU) == pytest.approx(0.95 * 1.5e9 - taken - 0.15e9)
    with memory.reserved(1e8):
        assert memory.free_bytes(1.5, CPU) == pytest.approx(0.95 * 1.5e9 - taken - 0.25e9)


def test_without_a_budget_half_of_what_may_be_taken(monkeypatch):
    monkeypatch.setattr(memory, "memory_available", lambda: 1e9)
    assert memory.free_bytes(None, CPU) == 5e8


def test_what_the_caller_holds_is_apart(monkeypatch):
    """1.5 GB held, of which Python takes 0.5: a budget of 2 leaves what it leaves to a process that holds 0.5."""
    monkeypatch.setattr(memory.psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=1.5e9)))
    monkeypatch.setattr(memory.reader_process, "resident_bytes", lambda: 0)
    monkeypatch.setattr(memory, "memory_limit", lambda: 16e9)
    assert memory.free_bytes(2.0, CPU) == pytest.approx(0.95 * 2e9 - 1.5e9 - 0.15e9)
    with memory.apart():
        assert memory.free_bytes(2.0, CPU) == pytest.approx(0.95 * 2e9 - 0.5e9 - 0.15e9)
        monkeypatch.setattr(memory, "memory_limit", lambda: 2.5e9)  # of which 1 GB is the caller's
        assert memory.free_bytes(2.0, CPU) == pytest.approx(0.95 * 1.5e9 - 0.5e9 - 0.15e9)
    assert memory.free_bytes(2.0, CPU) == pytest.approx(0.95 * 2e9 - 1.5e9 - 0.15e9)


def test_in_need_all_that_there_is(monkeypatch):
    monkeypatch.setattr(memory, "_taken", lambda: 1e8)
    monkeypatch.setattr(memory, "memory_limit", lambda: 2e9)
    monkeypatch.setattr(memory, "memory_available", lambda: 1e9)
    with memory.reserved(5e8):
        assert memory.free_bytes(1.0, CPU) == pytest.approx(0.95e9 - 0.75e9)
        assert memory.free_bytes(1.0, CPU, in_need=True) == pytest.approx(0.95e9 - 0.25e9)
        assert memory.free_bytes(None, CPU, in_need=True) == pytest.approx(0.95e9)


@pytest.mark.parametrize(
    ("memory_gb", "processes", "words"),
    [
        # (0.4 + 0.15 + 0.3) / 0.95 = 0.89
        (
            0.8,
            1,
            r"memory_gb: 0\.8 is too little: the process holds 0\.40 GB already, .* 0\.45 GB for a volume\. Fix: give 0\.9 or more\.",
        ),
        (3.5, 4, r"memory_gb: 3\.5 \(0\.75 GB here, .*share.*\) is too little: .* Fix: it takes 0\.9 or more: start fewer processes"),
        (None, 4, r"memory_gb: none is given, the process holds 0\.40 GB already and has 0\.24 GB left .* Fix: start fewer processes"),
    ],
)
def test_too_little_says_what_there_is_and_what_it_takes(monkeypatch, memory_gb, processes, words):
    monkeypatch.setattr(memory, "_taken", lambda: 4e8)
    monkeypatch.setattr(memory, "memory_limit", lambda: 3e9)
    monkeypatch.setattr(memory, "memory_available", lambda: 1e9)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    memory.require(0.15e9, memory_gb, CPU, "a volume")
    with pytest.raises(UserError, match=words):
        memory.require(0.3e9, memory_gb, CPU, "a volume")


def test_stages_overlap_only_where_the_container_has_room(monkeypatch):
    scan = torch.zeros((100, 100, 100), dtype=torch.int16)  # 2 MB, 12 MB beside the network
    monkeypatch.setattr(memory, "_taken", lambda: 0)
    monkeypatch.setattr(memory, "memory_limit", lambda: 1.013e9)
    assert memory.room_to_overlap(scan, 3.5)
    monkeypatch.setattr(memory, "memory_limit", lambda: 1.011e9)
    assert not memory.room_to_overlap(scan, 3.5)
    # 3 GB: 0.15 of them are never planned with, and 0.15 are what passes take in any case
    monkeypatch.setattr(memory, "memory_limit", lambda: 3e9)
    assert memory.room_to_overlap(scan, 3.5, 2.68e9)
    assert not memory.room_to_overlap(scan, 3.5, 2.69e9)


def test_the_reader_beside_counts():
    from bundle import reader_process

    reader_process.close()
    assert reader_process.resident_bytes() == 0
    reader_process.call("os:getpid")
    assert 1e6 < reader_process.resident_bytes() < 1e9
    assert memory._taken() > psutil.Process().memory_info().rss
    reader_process.close()


def test_processes_of_torchrun_share_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "_taken", lambda: 0)
    monkeypatch.setattr(memory, "memory_limit", lambda: 8e9)
    monkeypatch.setattr(memory, "memory_available", lambda: 8e9)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.free_bytes(3.5, CPU) == pytest.approx(0.95 * 2e9 - 0.15e9)
    assert memory.free_bytes(1.0, CPU) == pytest.approx(0.95 * 1e9 - 0.15e9)
    assert memory.free_bytes(None, CPU) == 1e9
