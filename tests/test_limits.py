"""Limits of containers: fake trees of control groups of both versions, laid out as Docker, Kubernetes and Slurm do."""

import resource
import subprocess
import sys

import psutil
import pytest

from bundle import limits

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _a_large_host(monkeypatch):
    class Memory:
        total, available = 64 * GIB, 48 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(32)), raising=False)


def tree(root, cgroup, mountinfo, files):
    for name, text in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mountinfo, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw"


def test_without_control_groups_the_host_counts(tmp_path):
    assert limits.memory_limit(tmp_path) == 64 * GIB
    assert limits.memory_available(tmp_path) == 48 * GIB
    assert limits.cpu_limit(tmp_path) == 32


def test_version_2_in_a_container(tmp_path):
    """Docker: its own group is the top; 2 GiB, 1.5 processors; 512 MiB used, 128 of it read files."""
    files = {"memory.max": 2 * GIB, "memory.high": "max", "memory.current": GIB // 2, "cpu.max": "150000 100000"}
    files["memory.stat"] = f"anon 1\ninactive_file {GIB // 8}\nactive_file 7"
    root = tree(tmp_path, "0::/", V2, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert limits.memory_limit(root) == 2 * GIB
    assert limits.memory_available(root) == 2 * GIB - GIB // 2 + GIB // 8
    assert limits.cpu_limit(root) == 2


def test_version_2_nested_the_least_of_all_groups_counts(tmp_path):
    """A job of systemd or Slurm: the inner group has no limit, its parent 8 GiB with memory.high at 6, the one above 16."""
    top = "sys/fs/cgroup/"
    files = {
        top + "job/memory.max": 16 * GIB,
        top + "job/cpu.max": "400000 100000",
        top + "job/step/memory.max": 8 * GIB,
        top + "job/step/memory.high": 6 * GIB,
        top + "job/step/memory.current": 5 * GIB,
        top + "job/step/task/memory.max": "max",
        top + "job/step/task/cpu.max": "max 100000",
    }
    root = tree(tmp_path, "0::/job/step/task", V2, files)
    assert limits.memory_limit(root) == 6 * GIB
    assert limits.memory_available(root) == GIB
    assert limits.cpu_limit(root) == 4


def test_version_1_seen_from_inside_a_container(tmp_path):
    """The path of /proc/self/cgroup is the host's, the mount begins at the container's group."""
    mounts = (
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct"
    )
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 3 * GIB,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": 2 * GIB,
        "sys/fs/cgroup/memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {GIB}",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": 300000,
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100000,
    }
    root = tree(tmp_path, "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc", mounts, files)
    assert limits.memory_limit(root) == 3 * GIB
    assert limits.memory_available(root) == 2 * GIB
    assert limits.cpu_limit(root) == 3


def test_version_1_without_limits(tmp_path):
    mounts = "35 31 0:32 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n32 31 0:29 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"
    files = {
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": 9223372036854771712,
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 10 * GIB,
        "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": -1,
        "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": 100000,
    }
    root = tree(tmp_path, "4:memory:/a\n1:cpu:/a", mounts, files)
    assert limits.memory_limit(root) == 10 * GIB, "of the group around it"
    assert limits.cpu_limit(root) == 32


def test_both_versions_at_once(tmp_path):
    """A hybrid host: memory in version 1, version 2 mounted without controllers."""
    mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files = {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": 5 * GIB, "sys/fs/cgroup/unified/cgroup.controllers": ""}
    root = tree(tmp_path, "8:memory:/job\n0::/", mounts, files)
    assert limits.memory_limit(root) == 5 * GIB


def test_a_damaged_tree_is_no_limit(tmp_path):
    root = tree(tmp_path, "nonsense\n0::/../../x", V2 + "\nshort - cgroup2", {"sys/fs/cgroup/memory.max": "?", "sys/fs/cgroup/cpu.max": ""})
    assert limits.memory_limit(root) == 64 * GIB and limits.cpu_limit(root) == 32


def test_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert limits.cpu_limit(tmp_path) == 2


def test_the_limit_of_address_space_counts():
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, ({GIB}, {GIB}))
from bundle.limits import memory_available, memory_limit
assert memory_limit("/nowhere") == {GIB} and 0 < memory_available("/nowhere") < {GIB}
"""
    assert resource.getrlimit(resource.RLIMIT_AS)[0] < 0 or resource.getrlimit(resource.RLIMIT_AS)[0] > GIB
    subprocess.run([sys.executable, "-c", code], check=True)


def test_on_this_machine_they_are_sensible():
    assert 0 < limits.memory_available() <= limits.memory_limit() and limits.cpu_limit() >= 1
