"""Threads that `start` sets: the container's quota bounds what PyTorch finds, not what the user asks for."""

import sys

import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import begin as setup


@pytest.fixture
def threads(monkeypatch):
    """What is set; PyTorch itself finds 16."""
    found = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    return found


def test_a_quota_of_processors_bounds_them(threads, monkeypatch):
    monkeypatch.setattr(setup, "cpu_limit", lambda: 2)
    setup.start(0)
    setup.start(8)
    assert threads == [2, 8]


def test_without_a_quota_they_stay_as_pytorch_finds_them(threads, monkeypatch):
    monkeypatch.setattr(setup, "cpu_limit", lambda: 32)
    setup.start(0)
    assert threads == []


@pytest.mark.parametrize("wrong", [-1, True, 2.5])
def test_no_number_of_threads(threads, wrong):
    with pytest.raises(UserError, match="threads"):
        setup.start(wrong)
