"""Files that are whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

ASIDE = ".unfinished"
# .NAME.PLACE.PID.unfinished
OWNED = re.compile(r"\..*\.(?P<place>[0-9a-f]{8})\.(?P<pid>\d+)" + re.escape(ASIDE))
NAME_MAX = 255
# seconds: clocks of file servers differ by less
CLOCKS_DIFFER = 60.0
# seconds after which an unfinished file of another machine counts as left behind
ABANDONED = 24 * 3600.0


@contextmanager
def written_aside(path: str | os.PathLike, *, alone: bool = False) -> Iterator[Path]:
    """Give a hidden path next to `path` to write to; when the block ends well it is renamed to `path`, otherwise removed.

    Folders that are missing are made. An `OSError` of the block names `path`.

    Args:
        path: the file.
        alone: whether one process at a time writes it: the hidden name is then always the same, so that what a killed process
            left is written over and large files do not pile up.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}{ASIDE}") if alone else aside_path(path)
    try:
        with _naming(path, aside):
            yield aside
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def aside_path(path: str | os.PathLike) -> Path:
    """A hidden path next to `path` that says which process on which machine writes it; it fits wherever `path` fits."""
    path = Path(path)
    owner = f".{process()}{ASIDE}"
    name = path.name
    if len(os.fsencode(name)) + len(owner) + 1 > NAME_MAX:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return path.with_name(f".{name}{owner}")


class Staged:
    """Files that are written aside one by one and take their places together.

    What was there before stays whole until all new files are; then each is renamed, which takes no space and no time.
    """

    def __init__(self) -> None:
        self._asides: dict[Path, Path] = {}

    @contextmanager
    def written(self, path: str | os.PathLike) -> Iterator[Path]:
        """Give a hidden path to write to; the file waits there for `publish`, or is removed where the block fails."""
        path = Path(path)
        aside = aside_path(path)
        try:
            with _naming(path, aside):
                yield aside
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        self._asides[path] = aside

    def publish(self, last: Sequence[str] = ()) -> list[str]:
        """Rename all files to their names, those named in `last` after the others; return the names."""
        names = []
        for path, aside in sorted(self._asides.items(), key=lambda pair: pair[0].name in last):
            with _naming(path, aside):
                os.replace(aside, path)
            del self._asides[path]
            names.append(path.name)
        return names

    def discard(self) -> None:
        """Remove what was not published."""
        for aside in self._asides.values():
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        self._asides.clear()


@contextmanager
def _naming(path: Path, aside: Path) -> Iterator[None]:
    """Errors name the file that was to be written, not the hidden one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside)):
            error.filename = str(path)
            del error.filename2  # None would be told as a second file
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text as UTF-8, line ends as they are, so that no reader ever sees half of it; what is not text is spelled `\\udcfc`."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="", errors="backslashreplace")


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Write JSON so that no reader ever sees half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def numbered(path: Path) -> Iterator[Path]:
    """The path, and then with numbers: `a.pt`, `a_2.pt`, `a_3.pt` and so on."""
    yield path
    yield from (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))


def keep_before(path: Path) -> None:
    """Give a file that is about to be replaced a further name, the first free one of `a_before.pt`, `a_before_2.pt` and so on.

    Two processes that do so at once take two names.
    """
    for kept in numbered(path.with_stem(f"{path.stem}_before")):
        try:
            os.link(path, kept)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if kept.exists():
                continue
            path.rename(kept)
        return


def spelled(name: str | os.PathLike) -> str:
    r"""A path as text that every file and console takes: bytes that are not UTF-8 are spelled `\xfc`."""
    text = os.fspath(name)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unspelled(text: str) -> str:
    r"""The path that `spelled` gave as this text: bytes stand where it has `\xfc`. A name that holds these letters itself is lost."""
    found = re.sub(rb"\\x([89a-f][0-9a-f])", lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return os.fsdecode(found)


def named(path: str | os.PathLike) -> Path:
    """The path of a name that a person gave: `~` is the home folder, unless something of that very name is there."""
    return Path(path) if os.path.lexists(path) else Path(os.path.expanduser(path))


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove what killed processes left behind in a folder of results; what a living one is writing stays.

    Whether a process of this machine lives is known; what another machine writes counts as left behind after a day.
    """
    for path in Path(folder).glob(f".*{ASIDE}"):
        with suppress(OSError):
            found = OWNED.fullmatch(path.name)
            if not found or not lives(found["place"], int(found["pid"]), path.stat().st_mtime, ABANDONED):
                path.unlink(missing_ok=True)


def lives(where: str, pid: int, seen: float, abandoned: float) -> bool:
    """Whether the process that wrote a file is still there.

    Args:
        where: the `place` of the process.
        pid: its number there.
        seen: when it wrote (seconds since 1970): a process that began later has only the number in common.
        abandoned: for another place, where nobody can look: the seconds after which it counts as gone.
    """
    if where != place():
        return time.time() - seen < abandoned
    import psutil

    try:
        return psutil.Process(pid).create_time() <= seen + CLOCKS_DIFFER
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


@cache
def place() -> str:
    """8 hexadecimal digits for this machine or container: within it a process id means one process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{socket.gethostname()}\n{namespace}".encode()).hexdigest()[:8]


def process() -> str:
    """This process, among those of all machines: its place and its number."""
    return f"{place()}.{os.getpid()}"


@contextmanager
def locked(path: str | os.PathLike, *, wait: float = 0.0) -> Iterator[bool]:
    """Hold a lock on a file, which is made where it is missing; gives whether it was got within `wait` seconds.

    File systems without locks give True: what is written under the lock must be right without it too, if less current.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield True
        return
    with open(path, "a") as file:
        yield _lock(fcntl, file.fileno(), time.monotonic() + wait)


def _lock(fcntl: Any, descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError:
            return True
