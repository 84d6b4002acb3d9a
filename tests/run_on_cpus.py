"""Runs the numeric tests under each set of instructions that this CPU has: `make test-cpus`, each in a process of its own.

oneDNN and PyTorch choose their code by what the CPU can do, and both can be told to take less. So one machine stands for older
ones: no AMX, no AVX512, no AVX2. What the CPU lacks is skipped with a line that says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

# settings -> flags of /proc/cpuinfo that they need
SETTINGS: tuple[tuple[dict[str, str], tuple[str, ...]], ...] = (
    ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, ("avx512_bf16",)),
    ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, ("avx2",)),
    ({"ATEN_CPU_CAPABILITY": "avx2"}, ("avx2",)),
    ({"ATEN_CPU_CAPABILITY": "default"}, ()),
)


def cpu_flags() -> set[str]:
    """What this CPU can do, as Linux tells it; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def main(arguments: list[str]) -> int:
    """Run pytest once for each setting, with further arguments of the command line; 1 if one of them failed."""
    flags, failed = cpu_flags(), []
    for setting, needed in SETTINGS:
        name = " ".join(f"{key}={value}" for key, value in setting.items())
        missing = [flag for flag in needed if flag not in flags]
        if missing:
            print(f"== {name}: skipped, this CPU has no {', '.join(missing)}", flush=True)
            continue
        print(f"== {name}", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "numeric and not slow", *arguments]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1", **setting})
        print(f"== {name}: {'failed' if done.returncode else 'passed'} in {time.monotonic() - start:.0f} s", flush=True)
        failed += [name] if done.returncode else []
    print(f"failed: {'; '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
