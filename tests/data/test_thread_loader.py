"""A data loader in a thread: the same batches, and errors that end the training."""

from __future__ import annotations

import threading

import pytest
import torch
from ignite.engine import Engine
from torch.utils.data import Dataset

from bundle.data.thread_loader import ThreadDataLoader
from bundle.errors import UserError


class Cases(Dataset):
    """Whole numbers, of which one cannot be read; notes the threads that they were taken in."""

    def __init__(self, bad: int | None = None) -> None:
        self.bad, self.threads = bad, set()

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        self.threads.add(threading.current_thread())
        if index == self.bad:
            raise UserError("case_3.nii.gz", "is cut off", "copy it again")
        return index


def test_batches_are_made_in_a_thread_and_are_those_of_the_loader() -> None:
    cases = Cases()
    found = list(ThreadDataLoader(cases, batch_size=4, buffer_size=2))
    assert [batch.tolist() for batch in found] == [[0, 1, 2, 3], [4, 5]]
    assert threading.current_thread() not in cases.threads


def test_an_error_ends_the_training() -> None:
    """With MONAI's the epochs were filled up with the other cases, and the exit code was 0."""
    seen = []
    engine = Engine(lambda engine, batch: seen.append(int(batch)))
    with pytest.raises(UserError, match=r"case_3\.nii\.gz: is cut off"):
        engine.run(ThreadDataLoader(Cases(bad=3), batch_size=1), max_epochs=2)
    assert seen == [0, 1, 2]


def test_a_loader_that_is_left_before_its_end_stops_its_thread() -> None:
    torch.manual_seed(0)
    batches = iter(ThreadDataLoader(Cases(), batch_size=1))
    assert int(next(batches)) == 0
    before = threading.active_count()
    batches.close()
    assert threading.active_count() < before
