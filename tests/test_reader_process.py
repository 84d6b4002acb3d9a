"""The reader's process: results without a copy, and every way in which a reader can end without one."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from bundle import reader_process
from bundle.errors import UserError
from bundle.reader_process import call

HERE = f"{__name__}:"


pytestmark = pytest.mark.usefixtures("reader_ended")


# what the child is asked to do


def twice(values):
    return values * 2, {"name": "double", "affine": np.eye(4)}


def fortran(shape):
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape, order="F")


def crash(path):
    ctypes.string_at(0)


def hang(path):
    time.sleep(60)


def noise(path):
    os.system("echo to the output; echo to the errors >&2")
    return "quiet"


def mistake(path):
    raise UserError(path, "a scout", "give the CT")


def other_mistake(path):
    raise KeyError("x")


def take(path, number):
    return int(np.ones(number, dtype=np.uint8).sum())


def give(number):
    return np.zeros(number, dtype=np.uint8)


def who():
    return os.getpid()


def test_arrays_come_back_equal_writable_and_in_their_order():
    values, more = call(HERE + "twice", np.arange(30, dtype=np.float32).reshape(5, 6))
    assert np.array_equal(values, np.arange(0, 60, 2).reshape(5, 6)) and values.dtype == np.float32
    assert more["name"] == "double" and np.array_equal(more["affine"], np.eye(4))
    values += 1  # torch wants memory that it may write to
    found = call(HERE + "fortran", (3, 4, 5))
    assert found.flags.f_contiguous and np.array_equal(found, fortran((3, 4, 5)))


def test_an_array_outlives_the_next_call_and_the_child():
    first = call(HERE + "fortran", (64, 64, 64))
    call(HERE + "fortran", (64, 64, 64))[:] = 0
    reader_process.close()
    assert np.array_equal(first, fortran((64, 64, 64)))


def test_without_memory_that_has_no_name_a_file_is_used_and_removed(tmp_path, monkeypatch):
    reader_process.close()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(reader_process._reader, "by_file", True)
    assert np.array_equal(call(HERE + "fortran", (3, 4, 5)), fortran((3, 4, 5)))
    assert list(tmp_path.iterdir()) == []
    reader_process.close()


def test_a_crash_costs_the_file_and_the_next_call_works():
    with pytest.raises(UserError, match=r"a\.nrrd: its reader crashed \(signal 11\)"):
        call(HERE + "crash", "a.nrrd")
    assert call(HERE + "noise", "b.nrrd") == "quiet"


def test_a_child_that_ends_after_its_answer_costs_nothing(monkeypatch):
    reader, arrays = reader_process._reader, reader_process._reader._arrays

    def late(*content):
        found = arrays(*content)
        reader.process.kill()
        reader.process.wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(reader, "_arrays", late)
        assert np.array_equal(call(HERE + "fortran", (3, 4, 5)), fortran((3, 4, 5)))
    assert reader.process is None
    assert np.array_equal(call(HERE + "fortran", (2, 4, 5)), fortran((2, 4, 5)))


def test_a_hang_ends_with_the_timeout():
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"slice1: its reader did not end within 0\.5 s"):
        call(HERE + "hang", ["slice1", "slice2"], timeout_s=0.5)
    assert time.monotonic() - begun < 10
    assert call(HERE + "noise", "b.nrrd") == "quiet"


def test_memory_is_bounded_for_the_reader_and_for_what_comes_back():
    assert call(HERE + "take", "a.nrrd", 100_000_000, memory_gb=0.2) == 100_000_000
    with pytest.raises(UserError, match=r"a\.nrrd: reading it takes more than 0\.2 GB"):
        call(HERE + "take", "a.nrrd", 1_000_000_000, memory_gb=0.2)
    with pytest.raises(UserError, match=r"takes more than 0\.05 GB"):
        call(HERE + "give", 60_000_000, where="a.nrrd", memory_gb=0.05)
    assert call(HERE + "take", "a.nrrd", 1_000_000_000) == 1_000_000_000, "the limit is of one call"


def test_errors_arrive_as_what_they_are():
    with pytest.raises(UserError) as raised:
        call(HERE + "mistake", "a.dcm")
    assert (raised.value.where, raised.value.problem, raised.value.fix) == ("a.dcm", "a scout", "give the CT")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    with pytest.raises(KeyError):
        call(HERE + "other_mistake", "a.dcm")


def test_nothing_that_a_library_prints_is_seen(capfd):
    reader_process.close()
    assert call(HERE + "noise", "a") == "quiet"
    assert capfd.readouterr() == ("", "")


def test_threads_share_one_child():
    found = []
    threads = [threading.Thread(target=lambda: found.append(call(HERE + "who"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1 and found[0] != os.getpid()


def _in_a_fork(queue):
    queue.put((call(HERE + "who"), os.getpid()))
    reader_process.close()


def test_a_daemonic_fork_has_a_child_of_its_own():
    mine = call(HERE + "who")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_in_a_fork, args=(queue,), daemon=True)
    worker.start()
    child, _ = queue.get(timeout=60)
    worker.join()
    assert child != mine and call(HERE + "who") == mine


def test_the_child_ends_with_its_parent_even_in_the_middle_of_a_call():
    code = f"""
import sys, threading, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from bundle.reader_process import call
print(call("{HERE}who"), flush=True)
threading.Thread(target=call, args=("{HERE}hang", "a"), daemon=True).start()
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        try:
            os.kill(child, 0)
            with open(f"/proc/{child}/stat") as stat:
                if stat.read().split(") ")[1][0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child is still there")


def test_importing_it_imports_nothing_heavy():
    code = "import sys, bundle.reader_process; print([m for m in ('numpy', 'torch', 'itk', 'multiprocessing') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
