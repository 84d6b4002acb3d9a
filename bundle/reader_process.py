"""A child process in which native readers (ITK, GDCM) run, so that a crash, a hang or a bomb costs one file and not the run.

One child serves each process that needs it. It starts with the first call and ends with its parent. It is a plain subprocess and
not one of `multiprocessing`, because the workers of a DataLoader may not have children of that kind.
"""

from __future__ import annotations

import atexit
import contextlib
import mmap
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from bundle.errors import UserError
from bundle.reader_child import imported

TIMEOUT_S = 900.0
OUT_OF_MEMORY = ("bad_alloc", "bad alloc", "failed to allocate", "unable to allocate", "out of memory", "cannot allocate")


def call(
    function: str,
    *args: Any,
    where: str | os.PathLike | None = None,
    memory_gb: float | None = None,
    timeout_s: float | None = None,
) -> Any:
    """Call `module:function` with `args` in the reader's process and return its result; arrays come back without a copy.

    Calls from several threads wait for each other. Arrays of the result are in memory that both processes share, and can be
    written to. Contiguous arrays (C or Fortran order) cost one copy in the child and none here.

    Args:
        function: `package.module:function`, which the child imports.
        args: what it is called with; must be picklable.
        where: the file that messages name; by default the first argument, or the first entry of it.
        memory_gb: how many GB (10^9 bytes) the reader may take for this call; None for no limit.
        timeout_s: after how many seconds the call counts as hung; `TIMEOUT_S` by default.

    Raises:
        UserError: what the function raised as such; or the reader crashed, hung, or needed more memory. The next call starts
            another child.
        Exception: a built-in error of the function as it is, any other as `RuntimeError`.
    """
    if os.name != "posix":
        return imported(function)(*args)
    where = _where(args) if where is None else str(where)
    return _reader.call((function, args, memory_gb, timeout_s or TIMEOUT_S), where)


def close() -> None:
    """End the child of this process; the next call starts another."""
    _reader.stop()


def resident_bytes() -> int:
    """Memory in bytes that the child of this process holds now; 0 without a child."""
    process = _reader.process
    if process is None:
        return 0
    import psutil

    try:
        return psutil.Process(process.pid).memory_info().rss
    except psutil.Error:
        return 0


class _Reader:
    """The parent's end: starts the child when it is needed, and takes it as dead after any answer that is not one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        self.receive: Any = None
        self.send: Any = None
        # where arrays cross: memory without a name, or a file where the system has none
        self.by_file = not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd")

    def call(self, request: tuple, where: str) -> Any:
        memory_gb, timeout_s = request[2:]
        with self.lock:
            try:
                self._start()
                self.send.send((*request, self.by_file))
                if not self.receive.poll(timeout_s):
                    raise UserError(where, f"its reader did not end within {timeout_s:g} s", "check that it is a scan and is complete")
                kind, content = self.receive.recv()
                result = self._arrays(*content) if kind == "result" else None
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise self._crash(where, memory_gb) from None
            except BaseException:
                self.stop()  # what the child would answer later does not belong to the next call
                raise
            if self.process is not None:
                try:
                    self.send.send("taken")
                except OSError:  # the child ended after its answer, which is here
                    self.stop()
        if kind == "result":
            return result
        raise _error(kind, content, where, memory_gb) from None

    def _start(self) -> None:
        from multiprocessing.connection import Connection

        if self.process is not None and self.process.poll() is None:
            return
        self.stop()
        root = str(Path(__file__).resolve().parents[1])
        found = [root, *(path for path in sys.path if path)]
        process = subprocess.Popen(
            [sys.executable, "-m", "bundle.reader_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(found), "PYTHONSAFEPATH": "1"},
        )
        self.process = process
        assert process.stdin is not None and process.stdout is not None
        self.send = Connection(os.dup(process.stdin.fileno()), readable=False)
        self.receive = Connection(os.dup(process.stdout.fileno()), writable=False)
        process.stdin.close()
        process.stdout.close()

    def _arrays(self, pickled: bytes, path: str | None, places: list[tuple[int, int]], by_file: bool) -> Any:
        if path is None:
            return pickle.loads(pickled)
        with open(path, "r+b") as file:
            if by_file:
                os.unlink(path)
            shared = memoryview(mmap.mmap(file.fileno(), sum(places[-1])))
        return pickle.loads(pickled, buffers=[shared[start : start + size] for start, size in places])

    def _crash(self, where: str, memory_gb: float | None) -> UserError:
        code = None
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self.process.wait(10)
        self.stop()
        if code == -getattr(signal, "SIGXCPU", 0):
            return UserError(where, "its reader did not end in time", "check that it is a scan and is complete")
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        limit = f"; it may take {memory_gb:.3g} GB" if memory_gb is not None else ""
        return UserError(where, f"its reader crashed ({how}{limit}), so the file is damaged or too large", "export it again")

    def stop(self) -> None:
        process, self.process = self.process, None
        for connection in (self.send, self.receive):
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.close()
        self.send = self.receive = None
        if process is not None:
            process.kill()
            # a child that waits for a dead network drive cannot be killed; it is left
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)

    def forget(self) -> None:
        """In a fork of the process: its parent's child is not its own."""
        for connection in (self.send, self.receive):
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.close()
        if self.process is not None:
            self.process.returncode = 0  # nobody waits for it here, and no warning says so
        _Reader.__init__(self)


def _where(args: tuple) -> str:
    first = args[0] if args else "reader"
    return str(first if isinstance(first, (str, os.PathLike)) else next(iter(first), "reader"))


def _error(kind: str, content: Any, where: str, memory_gb: float | None) -> Exception:
    if kind == "user":
        return UserError(*content)
    if isinstance(content, MemoryError) or any(word in str(content).lower() for word in OUT_OF_MEMORY):
        limit = f"more than {memory_gb:.3g} GB, which is what it may take" if memory_gb is not None else "more memory than there is"
        return UserError(where, f"reading it takes {limit}", "check its header; crop the scan if it is right")
    return content


_reader = _Reader()
atexit.register(_reader.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reader.forget)
