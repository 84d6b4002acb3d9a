"""Freed memory that a process keeps: counted by the pages that the system hands out for arrays made and freed in turn."""

import ctypes
import subprocess
import sys

import pytest

from bundle import kept_memory

# arrays of 64 MB: above 32 MB glibc gives each back by itself; without huge pages one takes 16384 pages
COUNT = """
import resource, sys
import numpy as np
import psutil
from bundle.kept_memory import give_back, keep_memory, stop_keeping

kept = keep_memory() if sys.argv[1] != "leave" else None
if sys.argv[1] == "stop":
    stop_keeping()
for turn in range(5):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones((4096, 4096), np.float32)
pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
held = psutil.Process().memory_info().rss
give_back()
print(kept, pages, held - psutil.Process().memory_info().rss)
"""
PAGES = 4 * 16384


def count(mode: str) -> tuple[str, int, int]:
    """What `keep_memory` returned, the pages handed out for four arrays after a first one, and bytes that `give_back` gave back."""
    variables = {"PYTHONPATH": ":".join(sys.path), "NUMPY_MADVISE_HUGEPAGE": "0"}
    run = subprocess.run([sys.executable, "-c", COUNT, mode], env=variables, capture_output=True, text=True, check=True)
    kept, pages, given_back = run.stdout.split()
    return kept, int(pages), int(given_back)


def on_glibc() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not on_glibc(), reason="another C library hands out memory here")
def test_what_was_freed_needs_no_new_pages():
    assert count("leave")[1] > 0.9 * PAGES
    assert count("stop")[1] > 0.9 * PAGES, "as before, from then on"
    kept, pages, given_back = count("keep")
    assert kept == "True" and pages < 0.01 * PAGES
    assert given_back > 60e6, "the last array's 67 MB count as free again"


@pytest.mark.parametrize("name", kept_memory.OF_THE_USER)
def test_what_the_environment_says_stays(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("the C library was asked"))
    assert not kept_memory.keep_memory()


@pytest.mark.parametrize("library", [object(), OSError("no library")])
def test_another_c_library_is_left_alone(library, monkeypatch):
    for name in kept_memory.OF_THE_USER:
        monkeypatch.delenv(name, raising=False)

    def found(_):
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", found)
    assert not kept_memory.keep_memory()
