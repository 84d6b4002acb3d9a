"""`bundle.serving.environment`: every step pinned, built once, nothing of others touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.serving import environment


def test_every_step_is_pinned(repository: Path) -> None:
    lines = (repository / "constraints-monai-label.txt").read_text(encoding="utf-8").split()
    pins = dict(line.split("==") for line in lines)
    assert {"torch", "monai", "monailabel", "numpy", "pydicom"} <= {name.lower() for name in pins}
    assert int(pins["numpy"].split(".")[0]) < 2 and int(pins["pydicom"].split(".")[0]) < 3
    for step in environment.STEPS:
        for package in (part for part in step if "==" in part):
            name, version = package.split("==")
            assert pins[name] == version
        assert "{pins}" in step


def test_a_standing_environment_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], folder: Path) -> None:
        ran.append(command)
        if command[1:3] == ["-m", "venv"]:
            environment.interpreter(folder).parent.mkdir(parents=True)
            environment.interpreter(folder).write_text("")

    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr(environment, "_check_version", lambda python: None)
    monkeypatch.setattr(environment, "_cure_torchvision", lambda python: None)
    python = environment.install(str(tmp_path / "env"))
    # the environment, torch, the rest, and a look whether it imports
    assert python == str(environment.interpreter(tmp_path / "env")) and len(ran) == 4
    assert environment.install(str(tmp_path / "env")) == python and len(ran) == 4


def test_other_versions_of_python_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "VERSIONS", ((2, 7),))
    with pytest.raises(UserError, match=rf"this is {sys.version_info[0]}\.{sys.version_info[1]}"):
        environment.install(str(tmp_path / "env"))
    with pytest.raises(UserError, match=r"--python: there is no program python2\.9"):
        environment.install(str(tmp_path / "env"), "python2.9")
    assert not (tmp_path / "env").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a virtual environment"):
        environment.install(str(tmp_path))
