"""Commands of Python in processes of their own that have MONAI imported already: the import takes longer than most tests.

One process imports PyTorch and MONAI, nothing of this bundle, and forks itself for every command. What a command gets is what a new
Python gives it: arguments, environment, folder, `sys.path`, `__main__`, exit code, and its last words on stderr.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil


class WarmPython:
    """Calls are `subprocess.run([sys.executable, *words], cwd=..., env=..., capture_output=True, text=True)`, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection, theirs = socket.socketpair()
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        # -P: this folder is not a place of modules; it is for the commands to say where theirs are
        command = [sys.executable, "-P", __file__, str(theirs.fileno())]
        self.process = subprocess.Popen(command, env={**environment, "OMP_NUM_THREADS": "1"}, pass_fds=[theirs.fileno()])
        theirs.close()

    def __call__(
        self, *words: str, cwd: Path | str = ".", env: Mapping[str, str] | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m MODULE ...` or `python -c CODE ...`.

        Raises:
            TimeoutError: it takes longer than this many seconds.
        """
        out, err = self.folder / "stdout", self.folder / "stderr"
        task = {"words": words, "cwd": str(Path(cwd).resolve()), "env": dict(os.environ if env is None else env)}
        self.connection.settimeout(timeout)
        self.connection.sendall((json.dumps({**task, "out": str(out), "err": str(err)}) + "\n").encode())
        try:
            code = self._answer()
        except TimeoutError:
            self._end_command()
            raise
        return subprocess.CompletedProcess([sys.executable, *words], code, out.read_text(), err.read_text())

    def _answer(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            more = self.connection.recv(16)
            if not more:
                raise RuntimeError("the process that forks has ended")
            line += more
        return int(line)

    def _end_command(self) -> None:
        self.connection.settimeout(0.2)
        for _ in range(150):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            try:
                self._answer()
                return
            except TimeoutError:
                pass

    def close(self) -> None:
        """End the process that forks."""
        self.connection.close()
        self.process.wait(30)


def _serve(number: int) -> dict[str, Any]:
    """Fork for each task that arrives; returns in the children, with their task."""
    connection = socket.socket(fileno=number)
    for line in connection.makefile("r", encoding="utf-8"):
        child = os.fork()
        if child == 0:
            connection.detach()
            os.close(number)
            return json.loads(line)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(task: Mapping[str, Any]) -> None:
    """Take the environment, folder, outputs and places of modules that the command is to have."""
    os.environ.clear()
    os.environ.update(task["env"])
    os.chdir(task["cwd"])
    for number, path in ((1, task["out"]), (2, task["err"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    first = task["cwd"] if task["words"][0] == "-m" else ""
    sys.path[:0] = [first, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _run(words: Sequence[str]) -> None:
    kind, what, *more = words
    sys.argv = [kind, *more]
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), main.__dict__)


if __name__ == "__main__":
    import monai.bundle  # noqa: F401

    assert "bundle" not in sys.modules
    # children share what the imports have made: their garbage collectors need not touch, and so copy, it
    gc.freeze()
    own = _serve(int(sys.argv[1]))
    _become(own)
    # what is raised here ends the process as it ends any: by `sys.excepthook`
    _run(own["words"])
