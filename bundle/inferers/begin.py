"""What a run needs before its first scan: threads, device, and a quiet console."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import torch

from bundle.arguments import mistakes
from bundle.distributed import local_size
from bundle.errors import UserError
from bundle.limits import cpu_limit

# messages of libraries about which a user of inference can do nothing
QUIET_LOGGERS = ("monai", "monai.bundle", "monai.bundle.workflows", "monai.bundle.scripts", "torch.distributed", "ignite")


def start(threads: int = 0) -> None:
    """Prepare this process for inference: number of threads, quiet libraries, a user's mistakes as one readable line.

    Args:
        threads: CPU threads; 0 takes what PyTorch finds, and no more than the container's quota of processors. Of several
            processes that torchrun started on this machine each takes its share of them.

    Raises:
        UserError: a negative number of threads.
    """
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise UserError("threads", f"{threads!r} is not a number of threads", "use 0 for all, or a whole number from 1 up")
    found = torch.get_num_threads()
    if (wanted := threads or _own_threads(found)) != found:
        torch.set_num_threads(wanted)
    warnings.filterwarnings("ignore", module=r"(monai|ignite|torch|nibabel|itk)(\.|$)")
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # names of files may hold what the console cannot show
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    mistakes.install()


def _own_threads(found: int) -> int:
    """The threads of one process: all that it may use, or its share."""
    processes = local_size()
    if processes == 1:
        return min(found, cpu_limit())
    share = max(1, cpu_limit() // processes)
    # torchrun sets OMP_NUM_THREADS to 1 where nobody has set it; a larger number is a person's
    return min(found, share) if found > 1 else share


def pick_device() -> str:
    """The GPU of this process (the first one, or the one that torchrun gives it), the CPU where there is none.

    More processes than GPUs share them in turn.
    """
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % max(1, torch.cuda.device_count())}"
