"""What a run needs before its first scan: threads, device, and a quiet console."""

from __future__ import annotations

import logging
import sys
import warnings
from types import TracebackType

import torch

from bundle.errors import UserError
from bundle.limits import cpu_limit

# messages of libraries about which a user of inference can do nothing
QUIET_LOGGERS = ("monai", "monai.bundle", "monai.bundle.workflows", "monai.bundle.scripts", "torch.distributed", "ignite")


def start(threads: int = 0) -> None:
    """Prepare this process for inference: number of threads, quiet libraries, a user's mistakes as one readable line.

    Args:
        threads: CPU threads; 0 takes what PyTorch finds, and no more than the container's quota of processors.

    Raises:
        UserError: a negative number of threads.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise UserError("threads", f"{threads!r} is no number of threads", "use 0 for all, or a whole number from 1 up")
    found = torch.get_num_threads()
    if (wanted := threads or min(found, cpu_limit())) != found:
        torch.set_num_threads(wanted)
    warnings.filterwarnings("ignore", module=r"(monai|ignite|torch|nibabel|itk)(\.|$)")
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # names of files may hold what the console cannot show
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _readable


def _readable(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a user's mistake as one line, wherever in the chain of errors it is; anything else as usual."""
    mistake = users_mistake(error)
    if isinstance(error, KeyboardInterrupt):
        print("interrupted: the same command goes on where this run stopped", file=sys.stderr)
    elif mistake is not None:
        print(f"error: {mistake}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def users_mistake(error: BaseException) -> UserError | None:
    """The `UserError` that an error is, or was caused by: MONAI's config parser wraps what happens inside it."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, UserError):
        link = link.__cause__ or link.__context__
    return link


def pick_device() -> str:
    """The first GPU where there is one, the CPU otherwise."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"
