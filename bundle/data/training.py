"""The cases to train on, once nothing is wrong with the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist

from bundle import labels as label_block
from bundle.channels import Block
from bundle.data.checks.check import check_before_training
from bundle.data.datalist import datalist
from bundle.errors import counted


def training_cases(
    dataset_dir: str,
    datalist_file: str | None = None,
    *,
    labels: label_block.Labels,
    cache_dir: str | None = None,
    channels: Block = None,
    may_be: Mapping[str | int, Sequence[str]] | None = None,
    **split: Any,
) -> list[dict[str, Any]]:
    """Check the whole data set, say how many cases there are, and give those of the section `training`.

    The check hangs on this list, not on the start of the run, because MONAI Label brings lists of its own: where those
    replace this one there is no data set to check.

    Args:
        dataset_dir, datalist_file, channels, split: as `bundle.data.datalist.datalist` takes them.
        labels: the `labels` block.
        may_be: values of label maps that leave open what a voxel is, as `bundle.transforms.MapLabels` takes them.
        cache_dir: where the check notes what it measured; a second start then reads no voxel.

    Raises:
        UserError: every problem of the data set, in one error.
    """
    first = idist.get_rank() == 0
    counts = check_before_training(
        dataset_dir, labels, datalist_file=datalist_file, channels=channels, cache_dir=cache_dir, progress=first, may_be=may_be, **split
    )
    if first:
        print(f"{dataset_dir}: " + ", ".join(f"{counted(number, 'case')} for {name}" for name, number in counts.items()), flush=True)
    return datalist(dataset_dir, "training", datalist_file, channels=channels, **split)
