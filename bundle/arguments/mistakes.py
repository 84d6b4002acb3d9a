"""Errors as a person reads them: one line and an exit code in place of a traceback, for what a person or a disk can cause."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
from types import TracebackType

from bundle.errors import UserError

MISTAKE, INTERRUPTED = 2, 130
# characters of a line
LONGEST = 700

# module -> the extra of this package that installs it
EXTRAS = {
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "onnx"),
    **dict.fromkeys(("openvino",), "openvino"),
    **dict.fromkeys(("highdicom",), "dicom"),
    **dict.fromkeys(("mlflow",), "mlflow"),
    **dict.fromkeys(("nvflare",), "federated"),
}

# what torch says about a batch norm in training
ONE_VALUE = "Expected more than 1 value per channel when training"

# a mistake in the traceback that a data loader hands on from its processes, as text: the error itself stays there
OF_A_WORKER = re.compile(rf"^{UserError.__module__}\.{UserError.__name__}: (.+)$", re.MULTILINE)

# what torch says where such a process ended by itself, and what that means: (problem, fix)
WORKER_ENDED = re.compile(r"DataLoader worker \(pid \d+\) is killed by signal: (Killed|Bus error)")
SIGNALS = {
    "Killed": ("was killed, most often because memory ran out", "use fewer of them, or a smaller batch_size or patch_size"),
    "Bus error": ("found no room in shared memory (/dev/shm)", "give more of it (docker: --shm-size 2g), or use --num_workers 0"),
}

# what torch says where memory is not given: on a CPU, on a GPU
NO_MEMORY = re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory|out of memory. Tried to allocate", re.IGNORECASE)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_A_FOLDER = {errno.ENOTDIR, errno.EEXIST}
# a disk that fails, a share that is gone
_GONE = {errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV, errno.ENXIO}


def install() -> None:
    """From now on an error that ends this process is one line where `one_line` knows it, and a traceback otherwise."""
    sys.excepthook = hook
    for handler in [*logging.getLogger().handlers, *([logging.lastResort] if logging.lastResort else [])]:
        if not any(isinstance(known, SaidOnce) for known in handler.filters):
            handler.addFilter(SaidOnce())


class SaidOnce(logging.Filter):
    """Leaves out what Ignite's engines log, each in turn, about an error that is said in one line at the end."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be shown."""
        if not record.name.startswith("ignite.") or "terminating due to exception" not in record.getMessage():
            return True
        error = sys.exc_info()[1]
        return error is None or one_line(error) is None


def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For `sys.excepthook`: print the line and end with its exit code, or print the traceback.

    Raises:
        SystemExit: Python ends with the code of one that is raised here.
    """
    known = one_line(error)
    if known is None:
        sys.__excepthook__(kind, error, trace)
        return
    line, code = known
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(code)


def one_line(error: BaseException) -> tuple[str, int] | None:
    """The line and the exit code for an error; None for an error of the code, which needs its traceback.

    MONAI's config parser wraps what happens inside it, so the causes of an error are looked at as well.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: what was finished is kept, and the same command continues (a training with --resume True)", INTERRUPTED
    mistake = users_mistake(error) or next((found[1] for link in _chain(error) if (found := OF_A_WORKER.search(str(link)))), None)
    if mistake is not None:
        return _line(mistake), MISTAKE
    for link in _chain(error):
        said = _of_the_disk(link) or _of_memory(link) or _of_torch(link) or _of_monai(link) or _of_an_extra(link)
        if said is not None:
            return _line(said), MISTAKE
    return None


def _line(mistake: UserError | str) -> str:
    """A mistake without the line breaks that the message of a library may have brought into it."""
    text = " ".join(str(mistake).split())
    return f"error: {text if len(text) <= LONGEST else f'{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}'}"


def users_mistake(error: BaseException) -> UserError | None:
    """The `UserError` that an error is, or was caused by."""
    return next((link for link in _chain(error) if isinstance(link, UserError)), None)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what caused it, the outermost first."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _of_the_disk(error: BaseException) -> UserError | None:
    """A full disk, and files or folders that may not be written or read."""
    if isinstance(error, RuntimeError) and "PytorchStreamWriter failed" in str(error):
        return UserError("weights", "the file could not be written", "see whether the disk is full, then run the same command again")
    if not isinstance(error, OSError):
        return None
    where = os.fsdecode(error.filename2 or error.filename) if (error.filename2 or error.filename) else "disk"
    if error.errno in _FULL:
        return UserError(where, "the disk is full; what was finished is kept", "free some space and run the same command again")
    if error.errno in _FORBIDDEN:
        fix = "choose another folder (for results: --output_dir), or change its permissions"
        return UserError(where, f"this file or folder cannot be used ({error.strerror})", fix)
    if error.errno in _NOT_A_FOLDER:
        return UserError(where, "there is a file where a folder is needed", "choose another name, or move that file")
    if error.errno == errno.ENAMETOOLONG:
        return UserError(where, "this name is too long for the disk", "shorten it: 255 bytes between two slashes are usual")
    if error.errno == errno.ELOOP:
        return UserError(where, "this link leads back to itself", "remove the link, or give another name")
    if error.errno in _GONE:
        fix = "check the disk or the mount that it is on, then run the same command again"
        return UserError(where, f"this file or folder cannot be reached ({error.strerror})", fix)
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory was not given: Python's own error, PyTorch's of a GPU, or its plain one of a CPU."""
    of_torch = isinstance(error, RuntimeError) and (type(error).__name__ == "OutOfMemoryError" or NO_MEMORY.search(str(error)) is not None)
    return of_torch or isinstance(error, MemoryError)


def _of_memory(error: BaseException) -> UserError | None:
    """Memory that the system or the GPU did not give; in the words of PyTorch also where a process of its data loader met it."""
    text = str(error)
    if not out_of_memory(error):
        return None
    found = re.search(r"tried to allocate ([\d.]+ ?\w+)|Unable to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
    wanted = f" ({found[1] or found[2]} were asked for at once)" if found else ""
    fix = "training: a smaller patch_size or batch_size; inference: a smaller memory_gb; or a machine with more"
    return UserError("memory", f"there is not enough of it{wanted}", fix)


def _of_torch(error: BaseException) -> UserError | None:
    """A batch norm that has nothing to normalise over, and a process of a data loader, or of a verb, that ended."""
    if ended := WORKER_ENDED.search(str(error)):
        problem, fix = SIGNALS[ended[1]]
        return UserError("num_workers", f"a process that loads data {problem}", fix)
    if type(error).__name__ == "BrokenProcessPool":
        fix = "use fewer of them (--jobs or --num_workers): the same command goes on with what is finished"
        return UserError("processes", "one of them was killed, most often because memory ran out", fix)
    return one_value() if isinstance(error, ValueError) and ONE_VALUE in str(error) else None


def one_value() -> UserError:
    """The error of a training in which a batch norm gets a single value per channel."""
    problem = (
        "a batch norm of the network would get one value per channel: a batch of one case, whose patch is one voxel at the deepest level"
    )
    fix = "give a larger patch_size (such as twice the size along one axis), or a batch_size that leaves no single case for the last batch"
    return UserError("patch_size, batch_size", problem, fix)


def _of_monai(error: BaseException) -> UserError | None:
    """What MONAI says about a config that lacks something, with a fix."""
    text = str(error.args[0]) if error.args else ""
    if found := re.search(r"referring item `@(.+?)` is not defined", text):
        return UserError(f"@{found[1].replace('::', '#')}", "no key of this config has this name", "correct the name of the key")
    if found := re.search(r"run ID '(.*?)' doesn't exist", text):
        return UserError(found[1], "this config has no run of this name", "use training or inference, as the config has it")
    if isinstance(error, KeyError) and (found := re.fullmatch(r"query key: (.*)", text)):
        return UserError(found[1].replace("::", "#"), "no key of this config has this name", "correct the name of the key")
    return None


def _of_an_extra(error: BaseException) -> UserError | None:
    """A module that an extra of this package installs."""
    if not isinstance(error, ImportError):
        return None
    # MONAI's own import errors name the module in their text only
    found = re.search(r"No module named '([\w.]+)'", str(error))
    name = (error.name or (found[1] if found else "")).split(".")[0]
    return UserError(name, "this package is not installed", f"pip install -e '.[{EXTRAS[name]}]'") if name in EXTRAS else None
