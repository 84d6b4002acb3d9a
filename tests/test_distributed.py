"""Meeting and leaving the processes of a training."""

from __future__ import annotations

import socket
import sys
import threading
import time

import nodes
import pytest
from torch.distributed import HashStore

from bundle import distributed

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
def test_no_thread_of_the_group_outlives_leave(repository, warm_python) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    said = warm_python("-c", PROGRAM, env=nodes.environment(repository, **group))
    assert said.returncode == 0, said.stderr
    assert said.stdout.split("\n")[0] == "True 0 False [[1.0, 1.0]]"


def start(store: HashStore, waits: dict[int, float]) -> dict[int, str]:
    """What each process reads as the other's address, where rank r arrives after `waits[r]` seconds and writes its own first."""
    read: dict[int, str] = {}

    def process(rank: int) -> None:
        time.sleep(waits[rank])
        own = distributed.met(store, rank, len(waits), timeout=20, interval=0.01)
        own.set(f"address {rank}", f"{rank} of the start {waits}")
        read[rank] = own.get(f"address {1 - rank}").decode()

    threads = [threading.Thread(target=process, args=(rank,)) for rank in waits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return read


def test_a_restart_reads_nothing_of_the_processes_before_it() -> None:
    store = HashStore()
    for waits in ({0: 0.0, 1: 0.0}, {0: 0.3, 1: 0.0}, {0: 0.0, 1: 0.3}):
        assert start(store, waits) == {0: f"1 of the start {waits}", 1: f"0 of the start {waits}"}


def test_a_process_that_waits_in_vain_says_so() -> None:
    with pytest.raises(TimeoutError, match=r"^process 1 of 2 waited 0.1 s for the others"):
        distributed.met(HashStore(), 1, 2, timeout=0.1, interval=0.01)
