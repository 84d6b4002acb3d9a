"""One training at a time writes into a folder."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from pathlib import Path

import ignite.distributed as idist
from ignite.engine import Engine, Events

from bundle.errors import UserError
from bundle.files import remove_unfinished

NAME = ".training.lock"
# folders that this process has locked, with the open file; a process may run one training after the other, also after an error
_held: dict[Path, int] = {}


class TrainingLock:
    """Refuses to start where another training writes its state, its table or its weights into one of the same folders.

    The lock ends with its process, however that ends: after a kill the same command resumes. Once it is held, what a killed
    training left half-written in these folders is removed. Attach it first. Nothing is locked on Windows.

    Args:
        folders: where the training writes; made where they are missing.

    Raises:
        UserError: another training holds one of them, or it may not be written to.
    """

    def __init__(self, folders: Sequence[str | os.PathLike]) -> None:
        self.folders = [Path(folder) for folder in folders]

    def attach(self, engine: Engine) -> None:
        """Lock when the engine starts, release when it is complete."""
        engine.add_event_handler(Events.STARTED, self.lock)

    def lock(self, engine: Engine | None = None) -> None:
        """Lock every folder; the first of several processes does it for all."""
        if idist.get_rank() != 0:
            return
        if engine is not None and not engine.has_event_handler(self.release, Events.COMPLETED):
            # now, behind what the others write when the training is complete
            engine.add_event_handler(Events.COMPLETED, self.release)
        for folder in self.folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                free = _lock(folder.resolve())
            except OSError as error:
                raise UserError(folder, f"cannot be written to ({error.strerror})", "give another --output_dir and --ckpt_dir") from error
            if not free:
                who = _content(folder / NAME) or "another process"
                fix = "wait until it ends, or give this one another --output_dir and --ckpt_dir"
                raise UserError(folder, f"another training writes here ({who})", fix)
            remove_unfinished(folder)

    def release(self, engine: Engine | None = None) -> None:
        """Let others have the folders."""
        for folder in self.folders:
            _release(folder.resolve())


def _lock(folder: Path) -> bool:
    """Whether this process has the folder, now or already."""
    if folder in _held:
        return True
    try:
        import fcntl
    except ImportError:
        return True
    while True:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # of the process: workers that outlive a killed training for some seconds inherit no such lock, other than with flock
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        except OSError:  # a file system without locks
            os.close(descriptor)
            return True
        if _is_there(folder / NAME, descriptor):
            break
        os.close(descriptor)  # its holder has removed it in between: it is not the file any more that others would lock
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()}".encode())
    _held[folder] = descriptor
    return True


def _release(folder: Path) -> None:
    descriptor = _held.pop(folder, None)
    if descriptor is None:
        return
    (folder / NAME).unlink(missing_ok=True)
    os.close(descriptor)


@atexit.register
def _release_all() -> None:
    """After an error too, no file of this is left."""
    for folder in list(_held):
        try:
            _release(folder)
        except OSError:
            pass


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:80]
    except (OSError, UnicodeDecodeError):
        return ""
