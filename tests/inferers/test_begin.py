"""What a run needs before its first scan: threads (the quota bounds what PyTorch finds, not what the user asks for), GPU, quiet console."""

import logging
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


@pytest.mark.parametrize(
    ("found", "processes", "expected"),
    # torchrun sets 1 thread for each process where nobody set a number; a larger one is a person's, but no more than the share
    [(1, 4, [4]), (16, 4, [4]), (2, 4, []), (1, 16, []), (1, 40, [])],
)
def test_processes_of_torchrun_share_the_processors(threads, monkeypatch, found, processes, expected):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(torch, "get_num_threads", lambda: found)
    monkeypatch.setattr(setup, "cpu_limit", lambda: 16)
    setup.start(0)
    assert threads == expected


def test_processes_of_torchrun_share_the_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    found = []
    for rank in ("0", "3", "5"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        found.append(setup.pick_device())
    assert found == ["cuda:0", "cuda:3", "cuda:1"]


def test_without_a_gpu_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert setup.pick_device() == "cpu"


def test_libraries_say_nothing_below_an_error(threads, monkeypatch):
    logger = logging.getLogger("monai.bundle.workflows")
    monkeypatch.setattr(logger, "level", logging.INFO)
    setup.start(1)
    assert not logger.isEnabledFor(logging.WARNING) and logger.isEnabledFor(logging.ERROR)
