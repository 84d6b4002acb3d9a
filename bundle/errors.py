"""The error that a user's own input can cause."""

from __future__ import annotations

import os
import sys
from types import TracebackType


class UserError(ValueError):
    """Something the user gave is wrong: names the file (or key), what is wrong with its value, and the fix.

    Args:
        where: the file, folder or config key that is wrong.
        problem: what is wrong, with the value.
        fix: what the user can do about it.
    """

    def __init__(self, where: str | os.PathLike, problem: str, fix: str = "") -> None:
        self.where, self.problem, self.fix = str(where), problem, fix
        super().__init__(f"{self.where}: {problem}." + (f" Fix: {fix}." if fix else ""))


def user_error_in(error: BaseException | None) -> UserError | None:
    """The `UserError` that this exception is, or was raised from or while handling; None where there is none."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def say_user_errors_plainly() -> None:
    """Let `python -m monai.bundle` end with the one line of a user's mistake.

    MONAI raises errors anew for each level of the config, some 60 lines of which the first few matter. Any other error, and
    any other program, keeps its traceback.
    """
    if getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "") == "monai.bundle.__main__":
        sys.excepthook = _print


def _print(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """As `sys.excepthook`."""
    found = user_error_in(error)
    if found is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"error: {found}", file=sys.stderr)
