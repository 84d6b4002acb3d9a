"""What a list says of the channels of its cases: which there are, and the files of each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bundle.channels import KINDS, Channel
from bundle.data.listed_files import Finder, stem
from bundle.errors import counted

if TYPE_CHECKING:
    from bundle.data.list_file import Entry, Mistakes


def check_modalities(content: dict[str, Any], channels: Sequence[Channel], mistakes: Mistakes) -> None:
    """Note where `modality` (MSD) or `channel_names` (nnU-Net) of a `dataset.json` say other channels, or in another order.

    Only where there are several: what a list says of one image is its own business.
    """
    stated = content.get("modality", content.get("channel_names"))
    if len(channels) == 1 or not isinstance(stated, dict) or not all(str(key).isdecimal() for key in stated):
        return
    said = [str(stated[key]) for key in sorted(stated, key=int)]
    wanted = ", ".join(channel.name for channel in channels)
    if len(said) != len(channels):
        problem = f"it lists {counted(len(said), 'channel')} ({', '.join(said)[:80]}), and the network takes {len(channels)} ({wanted})"
        mistakes.add("modality", problem, "name in channels what the data set has")
        return
    for name, channel in zip(said, channels, strict=True):
        words = set(re.split(r"[\W_]+", name.lower()))
        others = [kind for kind, (_, known) in KINDS.items() if kind != channel.kind and words & known]
        if others and not words & channel.words:
            problem = f"it says that the channels are {', '.join(said)[:80]}, and channels says {wanted}"
            mistakes.add("modality", problem, "write files and channels in one order, the CT first")
            return


def channel_files(
    entry: Entry, image: str | None, further: Sequence[str], finder: Finder, mistakes: Mistakes
) -> tuple[tuple[str, str], ...]:
    """The further channels of a case: the files that it lists, or those of nnU-Net beside its image; none in one file of all."""
    if not further or image is None or (not entry.further and not stem(image).endswith("_0000")):
        return ()
    found = []
    for number, name in enumerate(further, start=1):
        listed = entry.further[number - 1] if entry.further else _of_channel(image, f"_{number:04d}")
        file = finder.file(listed)
        if file is None:
            problem = f'{entry.place}: its {name}, "{listed[:200]}", is not there'
            mistakes.add("no channel", problem, "put the file there, correct the entry, or take it away")
        else:
            found.append((name, file))
    return tuple(found)


def without_channel(image: str, others: tuple[tuple[str, str], ...]) -> str:
    """The path that names a case: of several channels in nnU-Net's files that without the channel's number."""
    return _of_channel(image, "") if others and stem(image).endswith("_0000") else image


def _of_channel(image: str, number: str) -> str:
    """nnU-Net's file of another channel: `a_0001.nii.gz` for `a_0000.nii.gz`."""
    folder, name = os.path.split(image)
    return os.path.join(folder, stem(name).removesuffix("_0000") + number + name[len(stem(name)) :])
