"""The tests' own quick start of Python gives a command what a new Python gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ABOUT = """
import json, os, sys
print(json.dumps([sys.argv, os.getcwd(), os.environ["ABOUT"], sys.path, __name__, "__file__" in globals(), "bundle" in sys.modules]))
print("to", "stderr", file=sys.stderr)
sys.exit(int(os.environ["ABOUT"]))
"""
HOOKED = "import sys; sys.excepthook = lambda kind, error, trace: sys.exit(9); print('before'); 1 / 0"


@pytest.mark.parametrize("words", [["-c", ABOUT, "a", "b c"], ["-m", "about", "--x", "1"]], ids=["code", "module"])
def test_a_command_sees_what_it_sees_in_a_new_python(warm_python: Callable, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "about.py").write_text(ABOUT.replace('"__file__" in globals()', "__file__"))
    environment = {**os.environ, "ABOUT": "3", "PYTHONPATH": f"/first{os.pathsep}/second"}
    new = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    warm = warm_python(*words, cwd=tmp_path, env=environment)
    assert warm.returncode == new.returncode == 3 and warm.stderr == new.stderr == "to stderr\n"
    assert warm.stdout == new.stdout and "/second" in new.stdout


def test_errors_and_signals_end_it_as_they_end_any(warm_python: Callable) -> None:
    done = warm_python("-c", "print('before'); 1 / 0")
    assert (done.returncode, done.stdout) == (1, "before\n") and done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    done = warm_python("-c", HOOKED)
    assert (done.returncode, done.stdout, done.stderr) == (9, "before\n", "")
    assert warm_python("-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)").returncode == -9
    assert warm_python("-c", "import atexit; atexit.register(print, 'at the end')").stdout == "at the end\n"


def test_what_takes_too_long_is_ended_and_the_next_command_runs(warm_python: Callable) -> None:
    warm_python("-c", "")
    with pytest.raises(TimeoutError):
        warm_python("-c", "import time; time.sleep(60)", timeout=0.5)
    assert warm_python("-c", "print('next')").stdout == "next\n"


def test_commands_leave_each_other_nothing(warm_python: Callable) -> None:
    warm_python("-c", "import monai, os; monai.mine = 1; os.environ['MINE'] = '1'; os.chdir('/')")
    assert warm_python("-c", "import monai, os; print(hasattr(monai, 'mine'), 'MINE' in os.environ, os.getcwd())").stdout == (
        f"False False {os.getcwd()}\n"
    )
