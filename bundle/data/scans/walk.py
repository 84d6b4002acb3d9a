"""Going through a folder of other people's files: only files are opened, and what cannot be read is named."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# folders that systems and tools keep for themselves; hidden ones begin with a dot
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
PERMISSION_FIX = "allow this user to read it, or ask its owner"
COPY_FIX = "copy or export it again"
LFS_POINTER = b"version https://git-lfs.github.com/"


@dataclass(frozen=True)
class Problem:
    """Why a file or folder cannot be used, and what to do about it."""

    words: str
    fix: str = COPY_FIX


@dataclass
class Here:
    """What is in one folder: files in order of their names, and files and folders that cannot be used."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)


def walk(root: Path, leave_out: Path | None = None) -> Iterator[Here]:
    """Each folder from `root` down once, what is hidden left out. Links to folders are followed last, so that real paths count.

    Args:
        root: where to begin.
        leave_out: a folder that is not entered, links resolved; ignored where it is `root` itself.
    """
    seen = {str(leave_out)} if leave_out is not None and str(leave_out) != os.path.realpath(root) else set()
    todo: list[Path] = [root]
    links: list[Path] = []
    while todo or links:
        folder = todo.pop() if todo else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        here = _look(folder)
        todo.extend(reversed(here.folders))
        links.extend(here.links)
        yield here


def file_problem(path: str | os.PathLike) -> Problem | None:
    """Why a path cannot be read as a file; None where it can. A named pipe, for one, is not a file and is not opened."""
    special = _no_file(path)
    if special is not None:
        return special
    try:
        # without blocking: the file may have become a pipe meanwhile
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        return _refused(error)
    if not start:
        return Problem("the file is empty")
    if start == LFS_POINTER:
        return Problem("this is a pointer of Git LFS, not the scan itself", "fetch the scan by `git lfs pull`")
    return None


def _look(folder: Path) -> Here:
    here = Here(folder)
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        words = f"this folder cannot be read ({error.strerror}): what is in it is not known"
        here.problems.append((folder, Problem(words, PERMISSION_FIX)))
        return here
    for entry in found:
        name = entry.name.lower()
        if name.startswith(".") or name in SYSTEM_FILES:
            continue
        path = folder / entry.name
        problem, is_folder = None, False
        try:
            is_folder = entry.is_dir()
            is_file = entry.is_file()
        except OSError as error:
            problem, is_file = _refused(error), False
        if is_folder:
            if name not in SYSTEM_FOLDERS:
                (here.links if entry.is_symlink() else here.folders).append(path)
        elif is_file:
            here.files.append(path)
        else:
            here.problems.append((path, problem or _no_file(path) or Problem("this is not a file", "remove it from the folder")))
    return here


def _no_file(path: str | os.PathLike) -> Problem | None:
    """What a path is where it is not a file; None for a file."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if os.path.islink(path):
            target = os.readlink(os.fspath(path))
            return Problem(f"this link leads nowhere (to {target})", "fetch or mount what it points to, or remove the link")
        return Problem("there is no such file", "check the path")
    except OSError as error:
        return _refused(error)
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return Problem(f"this is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file", "remove it from the folder, or give the file itself")


def _refused(error: OSError) -> Problem:
    if error.errno == errno.ELOOP:
        return Problem("this link leads back to itself", "remove the link")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Problem(f"the file cannot be opened ({error.strerror})", PERMISSION_FIX)
    return Problem(f"the file cannot be opened ({error.strerror})", "check the disk or the mount that it is on")
