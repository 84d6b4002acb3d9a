"""Scans that come into a folder: taken when their files have stopped changing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from bundle.channels import Block, further
from bundle.data.scans.find import FoundScans, find_scans
from bundle.data.scans.walk import walk
from bundle.errors import UserError
from bundle.files import named
from bundle.images.reading import volumes
from bundle.results import identity


class Arrivals:
    """Looks at a folder again and again, and gives each scan once, when all its files have kept size and times for a while.

    A scan whose files change afterwards, such as a series that gets more slices, is given again. Nothing is opened before it has
    settled. Files that are copied under their final name may pause: then what is there is taken, and again when the rest has come.

    Args:
        folder: searched recursively.
        leave_out: a folder below it that is not searched.
        settle: seconds that all files of a scan must stay as they are.
        channels: the `channels` block: of several, a scan waits for the others, unless they are in its own file.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(
        self, folder: str | os.PathLike, leave_out: str | os.PathLike | None = None, settle: float = 5.0, channels: Block = None
    ) -> None:
        self.channels = channels
        self.folder, self.leave_out, self.settle = named(folder), leave_out, settle
        if not self.folder.is_dir():
            raise UserError(self.folder, "this is no folder, and only a folder can be watched", "make it, or leave out --watch")
        self._seen: dict[str, tuple[tuple[int, ...], float]] = {}
        self._settled: frozenset[tuple[str, tuple[int, ...]]] = frozenset()
        self._given: set[tuple[str, str]] = set()

    def new(self) -> list[dict[str, Any]]:
        """Entries, as of `find_scans`, of scans that have settled since the last call."""
        now, settled = time.monotonic(), set()
        seen: dict[str, tuple[tuple[int, ...], float]] = {}
        for path, state in self._files():
            before = self._seen.get(path)
            since = before[1] if before is not None and before[0] == state else now
            seen[path] = state, since
            if now - since >= self.settle:
                settled.add((path, state))
        self._seen = seen
        if settled == self._settled:
            return []
        self._settled = frozenset(settled)
        quiet = {os.path.realpath(path) for path, _ in settled}
        new = []
        for item in self._found():
            files = identity.files_of(item)
            # several series of one folder have the same source
            this = str(item["source"]), identity.stamp(files)
            if this not in self._given and all(os.path.realpath(file) in quiet for file in files):
                self._given.add(this)
                new.append(item)
        return new

    def _found(self) -> FoundScans:
        try:
            found = find_scans(self.folder, leave_out=self.leave_out, channels=self.channels)
        except UserError:  # none so far
            return FoundScans()
        names = {channel.name for channel in further(self.channels)}
        return FoundScans(item for item in found if names <= set(item.get("channels", ())) or _holds_all(item["image"]))

    def _files(self) -> list[tuple[str, tuple[int, ...]]]:
        found: list[tuple[str, tuple[int, ...]]] = []
        for here in walk(self.folder, named(self.leave_out).resolve() if self.leave_out else None):
            for path in here.files:
                try:
                    state = os.stat(path)
                except OSError:  # gone again
                    continue
                found.append((str(Path(path)), (state.st_size, state.st_mtime_ns, state.st_ino)))
        return found


def _holds_all(image: str | list[str]) -> bool:
    """Whether a file has several volumes; one that cannot be read is taken, so that it is said."""
    try:
        return isinstance(image, str) and volumes(image) > 1
    except UserError:
        return True
