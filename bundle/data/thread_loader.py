"""MONAI's `ThreadDataLoader` whose errors are errors of the training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from monai.data import DataLoader
from monai.data import ThreadDataLoader as MonaiThreadDataLoader
from monai.data.thread_buffer import buffer_iterator


class ThreadDataLoader(MonaiThreadDataLoader):
    """MONAI's, all arguments are its; an error in its thread is raised where the batches are taken.

    MONAI's prints such an error, as of a scan that cannot be read or a GPU without memory, and ends the epoch: Ignite begins the data
    anew to fill it up, and the training goes on with some cases twice and others never.
    """

    def __iter__(self) -> Any:
        for batch in buffer_iterator(_caught(DataLoader.__iter__(self)), self.buffer_size, self.buffer_timeout, self.repeats):
            if isinstance(batch, _Failed):
                raise batch.error
            yield batch


class _Failed(NamedTuple):
    """What ended the data, in the place of a batch."""

    error: Exception


def _caught(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except Exception as error:
        yield _Failed(error)
