"""Budgets of memory: what a container allows is less than what a user asks for, and counts."""

import psutil
import pytest
import torch

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


def test_stages_overlap_only_where_the_container_has_room(monkeypatch):
    scan = torch.zeros((100, 100, 100), dtype=torch.int16)  # 2 MB, 12 MB beside the network
    monkeypatch.setattr(memory, "_taken", lambda: 0)
    monkeypatch.setattr(memory, "memory_limit", lambda: 1.013e9)
    assert memory.room_to_overlap(scan, 3.5)
    monkeypatch.setattr(memory, "memory_limit", lambda: 1.011e9)
    assert not memory.room_to_overlap(scan, 3.5)


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
