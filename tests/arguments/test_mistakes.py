"""Errors as one line with an exit code, or as a traceback where the code is at fault."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader, Dataset

from bundle.arguments.mistakes import INTERRUPTED, SaidOnce, hook, one_line
from bundle.errors import UserError


def test_disks_extras_and_interrupts_have_a_line() -> None:
    full = one_line(OSError(errno.ENOSPC, "No space left on device", "/out/a_seg.nii.gz"))
    assert full is not None and full[1] == 2 and full[0].startswith("error: /out/a_seg.nii.gz: the disk is full")
    read_only = one_line(OSError(errno.EROFS, "Read-only file system", "/out"))
    assert read_only is not None and "Read-only file system" in read_only[0] and "--output_dir" in read_only[0]
    absent = one_line(ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript"))
    assert absent == ("error: onnxscript: this package is not installed. Fix: pip install -e '.[onnx]'.", 2)
    assert one_line(KeyboardInterrupt())[1] == INTERRUPTED == 130
    for number, words in (
        (errno.ENAMETOOLONG, "/x: this name is too long for the disk. Fix: shorten it"),
        (errno.ELOOP, "/x: this link leads back to itself. Fix: "),
        (errno.EIO, "/x: this file or folder cannot be reached (said). Fix: check the disk"),
        (errno.ESTALE, "/x: this file or folder cannot be reached (said). Fix: check the disk"),
    ):
        said = one_line(OSError(number, "said", "/x"))
        assert said is not None and words in said[0] and said[1] == 2
    assert one_line(ZeroDivisionError()) is None and one_line(FileNotFoundError(errno.ENOENT, "gone", "x")) is None
    wrapped = RuntimeError("Failed to evaluate")
    wrapped.__cause__ = UserError("a\nb", "wrong\n  twice", "mend")
    assert one_line(wrapped) == ("error: a b: wrong twice. Fix: mend.", 2)


class Damaged(Dataset):
    """A data set of one item that cannot be read, as MONAI's transforms say it."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        try:
            raise UserError("a.nii.gz", "is cut off", "copy it again")
        except UserError as error:
            raise RuntimeError("applying transform LoadScand") from error


def test_a_mistake_in_a_process_of_a_data_loader_has_a_line() -> None:
    """Of it only the text of a traceback comes back."""
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Damaged(), num_workers=1)))
    assert len(str(caught.value).splitlines()) > 5
    assert one_line(caught.value) == ("error: a.nii.gz: is cut off. Fix: copy it again.", 2)


class Ending(Damaged):
    """A data set whose process ends by a signal."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getitem__(self, index: int) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "was killed, most often"), (signal.SIGBUS, "room in shared memory")])
def test_a_process_of_a_data_loader_that_ends_has_a_line(number: int, words: str) -> None:
    """Docker gives 64 MB of shared memory, which the default patches of two processes do not fit into."""
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Ending(number), num_workers=1)))
    said = one_line(caught.value)
    assert said is not None and said[1] == 2
    assert said[0].startswith("error: num_workers: a process that loads data") and words in said[0]


def test_a_process_of_a_verb_that_ends_has_a_line() -> None:
    with pytest.raises(RuntimeError) as caught, ProcessPoolExecutor(1) as pool:
        pool.submit(signal.raise_signal, signal.SIGKILL).result()
    said = one_line(caught.value)
    assert said is not None and said[1] == 2 and said[0].startswith("error: processes: one of them was killed, most often because memory")


@pytest.mark.parametrize("where", ["torch", "numpy", "a worker"])
def test_memory_that_is_not_given_has_a_line(where: str) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        if where == "numpy":
            np.zeros(1 << 60, np.uint8)
        else:
            torch.empty(1 << 60, dtype=torch.uint8)
    error = caught.value
    if where == "a worker":  # as a DataLoader hands it on: its text is the worker's traceback
        error = RuntimeError(f"Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...\nRuntimeError: {error}")
    said = one_line(error)
    amount = "1.00 EiB" if where == "numpy" else f"{1 << 60} bytes"
    assert said is not None and said[1] == 2
    assert f"error: memory: there is not enough of it ({amount} were asked for at once). Fix: training: a smaller patch_size" in said[0]
    assert one_line(RuntimeError("out of luck")) is None


def test_a_full_disk_under_torch_has_a_line() -> None:
    """torch.save raises RuntimeError for it."""
    with pytest.raises((RuntimeError, OSError)) as caught, open("/dev/full", "wb") as stream:
        torch.save({"a": torch.zeros(1 << 20)}, stream)
    assert one_line(caught.value)[1] == 2


def test_the_hook_ends_with_the_code_of_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(SystemExit) as ended:
        hook(UserError, UserError("key", "is wrong", "mend it"), None)
    assert ended.value.code == 2 and stream.getvalue() == "error: key: is wrong. Fix: mend it.\n"


def test_an_engine_does_not_log_what_the_last_line_says() -> None:
    seen: list[str] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    for error, logged in ((UserError("a.nii.gz", "is damaged"), 0), (ZeroDivisionError("a slip of ours"), 2)):

        def fail(engine: Engine, batch: object, error: Exception = error) -> None:
            raise error

        engine, handler = Engine(fail), Seen()
        handler.addFilter(SaidOnce())
        engine.logger.addHandler(handler)
        with pytest.raises(type(error)):
            engine.run([0])
        engine.logger.removeHandler(handler)
        assert len(seen) == logged


def test_a_batch_norm_of_one_value_has_a_line() -> None:
    with pytest.raises(ValueError) as caught:
        torch.nn.BatchNorm3d(2)(torch.zeros(1, 2, 1, 1, 1))
    line, code = one_line(caught.value)
    assert code == 2 and line.startswith("error: patch_size, batch_size: a batch norm") and "Fix: give a larger patch_size" in line
