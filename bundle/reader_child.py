"""The child process of `bundle.reader_process`: it imports and calls native readers, within bounds, and sends back what they give."""

from __future__ import annotations

import contextlib
import importlib
import mmap
import os
import pickle
import signal
import tempfile
import threading
import time
from typing import Any

from bundle.errors import UserError

# what ITK's own libraries and threads may take besides the voxels
BESIDE_THE_VOXELS = 256 << 20
ALIGNMENT = 64


def _serve() -> None:
    """Answer requests until the parent is gone."""
    import resource
    from multiprocessing.connection import Connection

    requests, answers = Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what native libraries print
        os.dup2(nothing, stream)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    while True:
        try:
            function, args, memory_gb, timeout_s, by_file = requests.recv()
            with _limited(memory_gb, timeout_s):
                answer, held = _answer(function, args, by_file, None if memory_gb is None else memory_gb * 1e9)
            answers.send(answer)
            del answer
            requests.recv()
            if held is not None:
                os.close(held)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


@contextlib.contextmanager
def _limited(memory_gb: float | None, timeout_s: float) -> Any:
    """Bounds on this process while it reads: private memory, and time on the CPU for a hang that the parent no longer sees."""
    import resource

    before = {kind: resource.getrlimit(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_CPU)}
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    # several threads may work at once
    _lower(resource.RLIMIT_CPU, int(used + timeout_s * (os.cpu_count() or 1)) + 1)
    if memory_gb is not None:
        _lower(resource.RLIMIT_DATA, int(_private_bytes() + memory_gb * 1e9 + BESIDE_THE_VOXELS))
    try:
        yield
    finally:
        for kind, limits in before.items():
            resource.setrlimit(kind, limits)


def _lower(kind: int, value: int) -> None:
    import resource

    soft, hard = resource.getrlimit(kind)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min([value, *known]), hard))


def _private_bytes() -> int:
    """What RLIMIT_DATA counts, where the system reports it."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 1 << 30


def _answer(function: str, args: tuple, by_file: bool, most: float | None) -> tuple[tuple[str, Any], int | None]:
    """What to send back, and the descriptor of the memory in which its arrays are."""
    try:
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(imported(function)(*args), protocol=5, buffer_callback=buffers.append)
        raw = [buffer.raw() for buffer in buffers]
        places, end = [], 0
        for one in raw:
            start = -(-end // ALIGNMENT) * ALIGNMENT
            places.append((start, one.nbytes))
            end = start + one.nbytes
        if not end:
            return ("result", (pickle.dumps(pickle.loads(pickled, buffers=raw)), None, [], False)), None
        if most is not None and end > most:
            raise MemoryError
        path, held = _shared(end, by_file)
        with mmap.mmap(held, end) as shared:
            for one, (start, size) in zip(raw, places, strict=True):
                shared[start : start + size] = one
        return ("result", (pickled, path, places, by_file)), held
    except UserError as error:
        return ("user", (error.where, error.problem, error.fix)), None
    except Exception as error:
        plain = type(error).__module__ == "builtins" and not isinstance(error, UnicodeError)
        return ("error", type(error)(str(error)) if plain else RuntimeError(str(error))), None


def _shared(size: int, by_file: bool) -> tuple[str, int]:
    """Room for arrays, as a path that the parent can open and a descriptor; all of it is there before anything is written."""
    if by_file:
        held, path = tempfile.mkstemp(prefix="bundle-reader-")
    else:
        held = os.memfd_create("bundle-reader")
        path = f"/proc/{os.getpid()}/fd/{held}"
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(held, 0, size)  # a full disk is an error here, and a crash later
        else:
            os.ftruncate(held, size)
    except OSError:
        os.close(held)
        if by_file:
            os.unlink(path)
        raise
    return path, held


def load_itk() -> Any:
    """ITK without PyTorch, which it imports where it is installed: half of the seconds and of the memory of its start.

    For functions that run in the child.
    """
    import itk

    with contextlib.suppress(ImportError, AttributeError):
        from itk.support import helpers

        helpers._HAVE_TORCH = helpers._HAVE_XARRAY = False
    itk.Object.SetGlobalWarningDisplay(False)
    return itk


def imported(name: str) -> Any:
    """What `package.module:name` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    _serve()
