"""Configs by path or by name, and lists of names."""

from __future__ import annotations

import pytest

from bundle.arguments.config_files import as_list, config_path
from bundle.errors import UserError


def test_names_in_one_text_or_many():
    assert as_list("a, b,,c ") == ["a", "b", "c"] and as_list(3) == ["3"] and as_list(["a", 1]) == ["a", "1"]


def test_configs_by_path_or_by_name(tmp_path, repository, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.json").write_text("{}")
    assert config_path("own.json") == str(tmp_path / "own.json")
    assert config_path("configs/train.json") == config_path("train") == str(repository / "configs/train.json")
    assert config_path("unet").startswith(str(repository / "configs/overlays"))
    with pytest.raises(UserError, match=r"nothing: there is no such config.*train"):
        config_path("nothing")
