"""Peak memory of the process that asks, for benchmarks that measure in a process of their own."""

from __future__ import annotations

from pathlib import Path


def peak() -> int:
    """Peak resident bytes of this process, on Linux; `ru_maxrss` would count those of the parent before it started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
