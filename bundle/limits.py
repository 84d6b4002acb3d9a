"""How much memory and how many processors this process may use: the least of host, container and its own limits.

`psutil.virtual_memory` and `os.cpu_count` report what the host has. In a container, or as a job of a cluster, less may be used, and
who takes more is killed (memory) or slowed down (threads).
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

# control groups without a limit hold a number near 2^63 (version 1) or "max" (version 2)
NO_LIMIT = 1 << 60


def memory_limit(root: str | os.PathLike = "/") -> int:
    """Bytes of memory that this process may have in all: of the host, its control groups (v1, v2, nested) and RLIMIT_AS.

    Args:
        root: where `proc` and `sys` are; another folder in tests.
    """
    import psutil

    limits = [psutil.virtual_memory().total, *(limit for limit, _ in _memory_groups(root))]
    return int(min([*limits, *_address_space()[:1]]))


def memory_available(root: str | os.PathLike = "/") -> int:
    """Bytes of memory that this process may still take without swapping or being killed.

    What a control group keeps of files it read counts as available: the kernel gives it up first.
    """
    import psutil

    left = [psutil.virtual_memory().available]
    left += [limit - used for limit, used in _memory_groups(root)]
    left += [limit - used for limit, used in [_address_space()] if limit < NO_LIMIT]
    return max(0, int(min(left)))


def cpu_limit(root: str | os.PathLike = "/") -> int:
    """How many threads can work at once: processors this process may run on, at most its control groups' quota, rounded up."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in _cpu_quotas(root) if quota > 0]
    return max(1, min([count, *(math.ceil(quota) for quota in quotas)]))


def _address_space() -> tuple[float, float]:
    """The limit of RLIMIT_AS and what is used of it, in bytes."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            import psutil

            return limit, psutil.Process().memory_info().vms
    return math.inf, 0


def _memory_groups(root: str | os.PathLike) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that this process is in, from the innermost up; those without a limit are left out."""
    for folder, version in _groups(str(root), "memory"):
        names = ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",)
        limits = [limit for limit in (_number(folder / name) for name in names) if limit is not None and 0 < limit < NO_LIMIT]
        if limits:
            used = _number(folder / ("memory.current" if version == 2 else "memory.usage_in_bytes")) or 0
            statistics = _table(folder / "memory.stat")
            kept = statistics.get("inactive_file" if version == 2 else "total_inactive_file", 0)
            yield min(limits), max(0, used - kept)


def _cpu_quotas(root: str | os.PathLike) -> Iterator[float]:
    for folder, version in _groups(str(root), "cpu"):
        if version == 2:
            quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
        with contextlib.suppress(ValueError, ZeroDivisionError):
            yield int(quota) / int(period)  # "max" and -1 are no limit


@lru_cache(maxsize=8)
def _groups(root: str, controller: str) -> list[tuple[Path, int]]:
    """Folders of the control groups that this process is in for a controller, innermost first, with the version of each."""
    found = []
    for mount, version, inner in _mounts(root, controller):
        for line in (_text(Path(root, "proc/self/cgroup")) or "").splitlines():
            _, controllers, path = [*line.split(":", 2), "", ""][:3]
            if (version == 2 and controllers == "") or (version == 1 and controller in controllers.split(",")):
                found += [(folder, version) for folder in _upwards(Path(root, mount.lstrip("/")), path, inner)]
    return found


def _mounts(root: str, controller: str) -> Iterator[tuple[str, int, str]]:
    """Where control groups of a controller are mounted, their version, and which group the mount shows as its top."""
    for line in (_text(Path(root, "proc/self/mountinfo")) or "").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield fields[4], 2, fields[3]
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            yield fields[4], 1, fields[3]


def _upwards(mount: Path, group: str, inner: str) -> Iterator[Path]:
    """The folders of a group and of those around it, as far as the mount shows them.

    In a container the mount may begin at the container's own group, while `/proc/self/cgroup` names it from the host's top.
    """
    if inner != "/" and (group == inner or group.startswith(inner.rstrip("/") + "/")):
        group = group[len(inner.rstrip("/")) :]
    folder = mount / group.strip("/")
    if ".." in Path(group).parts or not folder.is_dir():
        folder = mount
    while True:
        yield folder
        if folder == mount:
            return
        folder = folder.parent


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None


def _table(path: Path) -> dict[str, int]:
    pairs = [line.split() for line in (_text(path) or "").splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
