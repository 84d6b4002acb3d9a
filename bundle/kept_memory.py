"""Memory that arrays and tensors free is kept by this process for the next ones, instead of given back to the system page by page."""

from __future__ import annotations

import ctypes
import os

# `mallopt`'s parameters in glibc's malloc.h: most free bytes at the end of its memory; from how many bytes on, and how many blocks at
# most, are mapped by themselves, to be given back when they are freed
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}  # none, no limit
# what glibc's own thresholds grow to in a process that frees large arrays
_NOT_KEEPING = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
# where one of these is set, somebody has chosen how memory is handed out
OF_THE_USER = ("GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_keeping: list[ctypes.CDLL] = []


def keep_memory() -> bool:
    """Keep freed memory from now on, in this process and those that it forks, until `stop_keeping`.

    Training and synthesis make and free the same large arrays again and again. By default glibc returns each to the system, which
    hands out its pages anew, all zeros. The price is memory that stays with the process, more than its peak was without, since what
    is free between two arrays may fit no other. So inference, whose peak is one pass, goes without.

    Returns:
        Whether it does; not where the C library is another one than glibc (macOS, Windows, Alpine), nor where the environment
        already says how memory is handed out (`OF_THE_USER`).
    """
    if any(name in os.environ for name in OF_THE_USER):
        return False
    library = _glibc()
    keeps = library is not None and all([library.mallopt(name, value) for name, value in _KEEPING.items()])
    _keeping[:] = [library] if library is not None and keeps else []
    return keeps


def give_back() -> None:
    """Give memory that is free but held by this process to the system; what is freed later is held again.

    Arrays below 32 MB that come and go leave gaps between those that stay: hundreds of megabytes after a pass over a long scan.
    """
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  other libraries have a `mallopt` that takes other numbers
    except (AttributeError, OSError, TypeError):
        return None
    return library


def stop_keeping() -> None:
    """Give all to the system that is free, and from now on what is freed."""
    for library in _keeping:
        for name, value in _NOT_KEEPING.items():
            library.mallopt(name, value)
    give_back()
    _keeping.clear()
