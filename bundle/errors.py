"""The error that a user's own input can cause, and words for messages: any error in one line, numbers of things, saying them."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

# what MONAI says of a transform that fails, in place of why
_TRANSFORM = re.compile(r"applying transform <(?:bound method )?(?:[\w.]*\.)?(\w+)")


class UserError(ValueError):
    """Something the user gave is wrong: names the file (or key), what is wrong with its value, and the fix.

    Args:
        where: the file, folder or config key that is wrong.
        problem: what is wrong, with the value.
        fix: what the user can do about it.
    """

    def __init__(self, where: str | os.PathLike, problem: str, fix: str = "") -> None:
        self.where, self.problem, self.fix = str(where), problem, fix
        super().__init__(f"{self.where}: {_sentence(problem)}" + (f" Fix: {_sentence(fix)}" if fix else ""))

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str]]:
        """Errors cross to other processes with their three parts."""
        return type(self), (self.where, self.problem, self.fix)


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def reason(error: BaseException) -> str:
    """An error in one line of words; of one that MONAI's `apply_transform` wraps, what the transform itself raised, and its name."""
    wrapped = _TRANSFORM.match(str(error))
    if wrapped and error.__cause__ is not None:
        within = reason(error.__cause__)
        plain = isinstance(error.__cause__, UserError) or _TRANSFORM.match(str(error.__cause__)) or wrapped[1] == "Compose"
        return within if plain else f"{wrapped[1]}: {within}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}" if text else type(error).__name__


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, such as "1 case" or "3 cases"; `several` is the plural where it is not `one` with an s: "class", "classes"."""
    return f"{number} {one}" if number == 1 else f"{number} {several or one + 's'}"


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once. Where nobody reads any more, as after `| head`, nothing more is said: no work fails for want of a reader.

    Args:
        text: the line.
        stream: None: standard output.
    """
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # what is still in the buffer goes nowhere, too: Python would end with exit code 120
        with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
    except OSError:  # a full disk that the stream is written to
        pass
