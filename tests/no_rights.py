"""Without root's rights: what a file's permissions refuse is refused to root as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def as_a_user(folder: Path) -> Iterator[None]:
    """Root is nobody within the block, and the folders above `folder` may be gone through; any other user stays who he is."""
    if os.geteuid() != 0:
        yield
        return
    closed = {above: above.stat().st_mode for above in folder.parents if not above.stat().st_mode & 0o001}
    for above, mode in closed.items():
        above.chmod(mode | 0o001)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for above, mode in closed.items():
            above.chmod(mode)
