"""Starting torchrun as several machines would, all of them on this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

SINGLE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def words(keys: Mapping[str, Any]) -> list[str]:
    """Keys of a config as words of a command line."""
    return [part for key, value in keys.items() for part in (f"--{key}", str(value))]


def environment(repository: Path, **more: str) -> dict[str, str]:
    """Variables of a process that takes the package from the checkout."""
    return {**os.environ, "PYTHONPATH": str(repository), **SINGLE, **more}


def start(repository: Path, run: Sequence[str], *, nodes: int = 1, processes: int = 1, restarts: int = 0) -> list[subprocess.Popen]:
    """One torchrun for each node, joined by a c10d rendezvous over loopback; `run` is what comes after `-m`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc_per_node={processes}"]
    command += ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}", "--rdzv_id=test", "--local_addr=127.0.0.1"]
    command += [f"--max_restarts={restarts}", "-m", *run]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [subprocess.Popen(command, env=environment(repository), **pipes) for _ in range(nodes)]


def workers(agent: subprocess.Popen) -> list[psutil.Process]:
    """The processes of the run that one torchrun has started."""
    return [child for child in psutil.Process(agent.pid).children() if "monai.bundle" in " ".join(child.cmdline())]


def ended(agents: Sequence[subprocess.Popen], timeout: float = 400) -> list[str]:
    """What each node said, once all have ended well."""
    said = [agent.communicate(timeout=timeout)[0] for agent in agents]
    for agent, text in zip(agents, said, strict=True):
        assert agent.returncode == 0, text[-4000:]
    return said
