"""A user's mistake in one line, and numbers of things in words."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.errors import UserError, counted, reason, say


def test_a_mistake_names_file_problem_and_fix() -> None:
    assert str(UserError(Path("/a/b.nii"), "is empty", "copy it again")) == "/a/b.nii: is empty. Fix: copy it again."
    assert str(UserError("key", "no such key, did you mean k?")) == "key: no such key, did you mean k?"
    assert isinstance(UserError("a", "b"), ValueError)


def test_a_mistake_crosses_to_another_process_with_its_parts() -> None:
    error = pickle.loads(pickle.dumps(UserError("a", "b", "c")))
    assert type(error) is UserError and (error.where, error.problem, error.fix) == ("a", "b", "c") and str(error) == "a: b. Fix: c."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("a", "b", "c"), "a: b. Fix: c."),
        (OSError(errno.ENOENT, "No such file", "/x"), "/x: No such file"),
        (OSError(errno.ENOSPC, "No space left"), "No space left"),
        (ValueError("two\n  lines"), "two lines"),
        (KeyError("k"), "KeyError: 'k'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (ValueError(), "ValueError"),
    ],
)
def test_any_error_is_one_line(error: Exception, said: str) -> None:
    assert reason(error) == said


def test_one_thing_has_no_plural() -> None:
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
    assert [counted(number, "class is", "classes are") for number in (0, 1, 2)] == ["0 classes are", "1 class is", "2 classes are"]


@pytest.mark.parametrize(
    ("problem", "said"),
    [(RuntimeError("no such\n kernel"), "Lambdad: RuntimeError: no such kernel"), (UserError("a", "b", "c"), "a: b. Fix: c.")],
)
def test_of_a_transform_that_fails_the_error_is_said_and_not_its_address(problem: Exception, said: str) -> None:
    from monai.transforms import Compose, Lambdad

    def fails(value: object) -> None:
        raise problem

    with pytest.raises(RuntimeError, match="applying transform <") as found:
        Compose([Compose([Lambdad("pred", fails)])])({"pred": 1})
    assert reason(found.value) == said


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_no_work_fails_for_want_of_a_reader(capsys: pytest.CaptureFixture) -> None:
    say("one"), say("two", sys.stderr), say("three", Full())
    assert capsys.readouterr() == ("one\n", "two\n")
    reader, writer = os.pipe()
    os.close(reader)
    program = "from bundle.errors import say; say('a'); say('b'); print('done')"
    ended = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")
