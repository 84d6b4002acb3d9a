"""Leaving the processes of a training."""

from __future__ import annotations

import socket
import subprocess
import sys

import nodes
import pytest

# a group of one process over Gloo, a network in DistributedDataParallel, one backward pass, and the threads that are left at the end
PROGRAM = """
import torch
from pathlib import Path
from bundle import distributed

def threads():
    return sum("gloo" in task.read_text() for task in Path("/proc/self/task").glob("*/comm"))

distributed.join("cpu")
network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
network(torch.ones(1, 2)).sum().backward()
during = threads()
distributed.leave(network)
print(during > 0, threads(), torch.distributed.is_initialized(), network.module.weight.grad.tolist())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_no_thread_of_the_group_outlives_leave(repository) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=nodes.environment(repository, **group), check=True, capture_output=True, text=True
    )
    assert said.stdout.split("\n")[0] == "True 0 False [[1.0, 1.0]]"
