"""Which code a config runs: that beside it. Whole processes are tested in tests/configs/test_as_it_arrives.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from bundle import own_code
from bundle.arguments.mistakes import users_mistake


def evaluated(folder: Path, call: str) -> Any:
    """What `own_code.CALL` gives within a config in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.json").write_text(json.dumps({"imports": ["$from bundle import own_code"], "initialize": [f"$own_code.{call}"]}))
    workflow = ConfigWorkflow(str(folder / "mine.json"), workflow_type="infer")
    return workflow.initialize()[0]


def test_a_configs_folder_is_known_while_it_is_evaluated(tmp_path: Path) -> None:
    assert own_code.own_root() is None, "no config is evaluated here"
    assert evaluated(tmp_path / "bundle_a" / "configs", "own_root()") == tmp_path / "bundle_a"
    assert evaluated(tmp_path / "elsewhere", "own_root()") == tmp_path / "elsewhere"


def test_a_config_without_code_or_weights_is_that_of_this_bundle(tmp_path: Path, repository: Path) -> None:
    assert evaluated(tmp_path / "a" / "configs", "begin()") == str(repository)
    (tmp_path / "b" / "models").mkdir(parents=True)
    assert evaluated(tmp_path / "b" / "configs", "begin()") == str(tmp_path / "b")


def test_a_copy_of_the_same_code_is_taken_and_other_code_is_refused(tmp_path: Path, repository: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(repository / "bundle", root / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    assert evaluated(root / "configs", "begin()") == str(root)
    with open(root / "bundle" / "errors.py", "a") as file:
        file.write("# another line\n")
    with pytest.raises(Exception) as caught:
        evaluated(root / "configs", "begin()")
    mistake = users_mistake(caught.value)
    assert mistake is not None and mistake.where == str(root / "configs")
    assert mistake.problem == f"its own code is not what runs: that of {repository} is loaded in this process already"


def test_a_module_more_or_less_is_other_code(tmp_path: Path, repository: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(repository / "bundle", root / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "bundle" / "extra.py").touch()
    with pytest.raises(Exception) as caught:
        evaluated(root / "configs", "check()")
    assert "its own code is not what runs" in str(users_mistake(caught.value))
