"""`python -m bundle`: every verb resolves, unknown ones are named, a user's mistake is one line and exit code 2."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
from contextlib import redirect_stdout
from importlib import import_module

import pytest
from fire import docstrings

from bundle.__main__ import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_points_to_a_documented_function(verb):
    module, function = VERBS[verb][0].split(":")
    assert getattr(import_module(module), function).__doc__


def test_importing_the_package_imports_nothing_heavy(repository):
    heavy = "{'torch', 'monai', 'numpy', 'itk', 'ignite', 'scipy', 'matplotlib'}"
    code = f"import sys, bundle, bundle.labels, bundle.errors, bundle.__main__; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_verb_is_named_with_those_that_there_are(repository):
    run = subprocess.run([sys.executable, "-m", "bundle", "segmnt"], cwd=repository, capture_output=True, text=True)
    assert run.returncode == 2
    assert "error: segmnt: there is no such verb" in run.stderr and all(verb in run.stderr for verb in VERBS)


def test_output_that_is_no_console_takes_the_help(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["bundle", "--help"])
    with redirect_stdout(said):
        assert main() == 0
    assert all(verb in said.getvalue() for verb in VERBS)


def test_help_lists_every_verb(repository):
    run = subprocess.run([sys.executable, "-m", "bundle"], cwd=repository, capture_output=True, text=True, check=True)
    assert all(verb in run.stdout for verb in VERBS)


def test_a_mistake_through_monai_bundle_ends_with_its_one_line(repository, warm_python):
    command = ["-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.json"]
    run = warm_python(*command, "--dataset_dir", "no_such_folder", cwd=repository)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("error: no_such_folder: there is no such file or folder. Fix: ")
    assert "Traceback" not in run.stderr


def test_other_errors_keep_their_traceback(repository, warm_python):
    command = ["-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.json"]
    run = warm_python(*command, "--scans", "$1 / 0", cwd=repository)
    assert run.returncode == 1
    assert "Traceback" in run.stderr and "ZeroDivisionError" in run.stderr


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "run"])
def test_help_explains_each_argument_whole(verb):
    """fire takes `a, b: ...` and a colon at the beginning of a line for something else, and drops what follows."""
    module, name = VERBS[verb][0].split(":")
    function = getattr(import_module(module), name)
    shown = {one.name: one.description for one in docstrings.parse(inspect.getdoc(function)).args}
    assert list(shown) == list(inspect.signature(function).parameters)
    section = inspect.getdoc(function).split("Args:\n")[1].split("\n\n")[0]
    assert " ".join(f"{name}: {text}" for name, text in shown.items()).split() == section.split()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_verb_tells_its_arguments(verb, flag, monkeypatch, capsys):
    """Also a verb that takes any key, such as `experiment`."""
    monkeypatch.setattr("sys.argv", ["bundle", verb, flag])
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "reconfigure", lambda **_: None, raising=False)
    monkeypatch.setenv("PAGER", "cat")
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    assert code == 0 and verb in "".join(capsys.readouterr())
