"""Which cases of a folder of results a living process is doing: so that several, started on one folder, share the work."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

from bundle import files

ENDING = ".claim"
# seconds between two signs of life, and without one after which a claim of another machine counts as given up
BEAT, ABANDONED = 30.0, 180.0
# all claims of this process: one that only has its number is of a process before it, as in a container that was started again
_held: set[Path] = set()


class Claims:
    """Small files `<case>.claim`, made exclusively, that say which process does a case.

    A claim saves time only. Without it (a file system that cannot make a file exclusively, a process that was stopped for
    long) a case is done twice, and the later result takes the place of the earlier one whole. Whether a process of this
    machine lives is known; one of another machine shows it by the time of its claims.

    Args:
        folder: where the claims are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mine: set[Path] = set()
        self._over: threading.Event | None = None

    def clear(self) -> None:
        """Remove the claims of killed processes."""
        for path in self.folder.glob(f"*{ENDING}"):
            if not self._lives(path):
                path.unlink(missing_ok=True)

    def take(self, case: str) -> bool:
        """Whether the case is this process's to do; False where another one that lives is doing it."""
        path = self._path(case)
        owner = json.dumps({"place": files.place(), "pid": os.getpid()})
        try:
            make_new(path, owner)
        except FileExistsError:
            if self.others(case):
                return False
            with suppress(OSError):
                files.write_text(path, owner)
        except OSError:
            # without a claim the case may be done twice, which harms nothing
            return True
        self._mine.add(path)
        _held.add(path.absolute())
        if self._over is None:
            self._over = threading.Event()
            threading.Thread(target=self._beat, args=(self._over,), name="claims", daemon=True).start()
        return True

    def others(self, case: str) -> bool:
        """Whether another living process is doing the case."""
        path = self._path(case)
        return path not in self._mine and self._lives(path)

    def give_back(self, case: str) -> None:
        """Let go of a case, where it is this process's."""
        path = self._path(case)
        if path in self._mine:
            self._mine.discard(path)
            _held.discard(path.absolute())
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def give_all_back(self) -> None:
        """Let go of everything that this process holds."""
        if self._over is not None:
            self._over.set()
            self._over = None
        for path in list(self._mine):
            self.give_back(path.name[: -len(ENDING)])

    def _path(self, case: str) -> Path:
        return self.folder / f"{case}{ENDING}"

    def _beat(self, over: threading.Event) -> None:
        while not over.wait(BEAT):
            for path in list(self._mine):
                with suppress(OSError):
                    os.utime(path)

    def _lives(self, path: Path) -> bool:
        try:
            written = path.stat().st_mtime
            text = path.read_text(encoding="ascii")
            if not text:  # being written, where the file system has no links; or its writer was killed doing so
                return self._now() - written < files.CLOCKS_DIFFER
            owner = json.loads(text)
            if owner["place"] != files.place():
                return self._now() - written < ABANDONED
            if int(owner["pid"]) == os.getpid():
                return path.absolute() in _held
            return files.lives(owner["place"], int(owner["pid"]), written, ABANDONED)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _now(self) -> float:
        """The time by the clock of the file system, which is the one of the claims."""
        aside = files.aside_path(self.folder / "clock")
        try:
            aside.touch()
            return aside.stat().st_mtime
        finally:
            aside.unlink(missing_ok=True)


def make_new(path: Path, text: str) -> None:
    """Make a file that is not there yet, with its text from its first moment on.

    Raises:
        FileExistsError: it is there.
    """
    aside = files.aside_path(path)
    try:
        aside.write_text(text, encoding="ascii")
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system, or no room
        with open(path, "x", encoding="ascii") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    finally:
        aside.unlink(missing_ok=True)
