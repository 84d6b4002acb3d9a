"""What the reader's process sends back, and the bounds within which it works."""

from __future__ import annotations

import mmap
import os
import pickle
import resource

import numpy as np
import pytest

from bundle import reader_child
from bundle.errors import UserError


def two_arrays(length: int) -> dict:
    return {"a": np.arange(length, dtype=np.uint8), "b": np.arange(3.0)}


def words() -> str:
    return "no array"


def mistake() -> None:
    raise UserError("a.nii", "is empty", "copy it")


def of_a_library() -> None:
    raise np.linalg.LinAlgError("singular")


def built_in() -> None:
    raise KeyError("x")


def answer(monkeypatch: pytest.MonkeyPatch, name: str, *args: object, most: float | None = None) -> tuple:
    monkeypatch.setattr(reader_child, "imported", lambda found: globals()[found])
    return reader_child._answer(name, args, True, most)


def test_arrays_lie_behind_each_other_each_at_a_multiple_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    (kind, (pickled, path, places, by_file)), held = answer(monkeypatch, "two_arrays", 70)
    try:
        # 70 bytes, then 3 numbers of 8 bytes from the next multiple of 64 on
        assert (kind, places, by_file) == ("result", [(0, 70), (128, 24)], True)
        with mmap.mmap(held, 152) as shared:
            found = pickle.loads(pickled, buffers=[bytearray(shared[start : start + size]) for start, size in places])
        assert found["a"].tolist() == list(range(70)) and found["b"].tolist() == [0, 1, 2]
    finally:
        os.close(held)
        os.unlink(path)


def test_what_has_no_array_needs_no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (kind, (pickled, path, places, _)), held = answer(monkeypatch, "words")
    assert (kind, pickle.loads(pickled), path, places, held) == ("result", "no array", None, [], None)


def test_errors_are_sent_as_what_every_process_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(monkeypatch, "mistake") == (("user", ("a.nii", "is empty", "copy it")), None)
    (kind, error), _ = answer(monkeypatch, "built_in")
    assert kind == "error" and type(error) is KeyError
    (_, error), _ = answer(monkeypatch, "of_a_library")
    assert type(error) is RuntimeError and str(error) == "singular"
    (_, error), _ = answer(monkeypatch, "two_arrays", 2000, most=1000.0)
    assert type(error) is MemoryError


def test_bounds_are_of_one_call() -> None:
    kinds = (resource.RLIMIT_DATA, resource.RLIMIT_CPU)
    before = [resource.getrlimit(kind) for kind in kinds]
    with reader_child._limited(1.0, 10.0):
        data, seconds = (resource.getrlimit(kind)[0] for kind in kinds)
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        assert used + 10 - 1 <= seconds <= used + 10 * (os.cpu_count() or 1) + 2
        assert 1e9 < data < 1e9 + (1 << 28) + 64e9
    assert [resource.getrlimit(kind) for kind in kinds] == before
    with reader_child._limited(None, 10.0):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before[0], "no bound on memory was asked for"


def test_a_function_is_named_by_its_module() -> None:
    assert reader_child.imported("os.path:join") is os.path.join
