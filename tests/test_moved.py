"""Modules under their former names."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from bundle.moved import MOVED, install


@pytest.mark.parametrize("former", sorted(name for name, now in MOVED.items() if now))
def test_former_names_work_and_say_where_the_module_is_now(former: str) -> None:
    sys.modules.pop(former, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = importlib.import_module(former)
    assert module is importlib.import_module(MOVED[former])
    assert any(MOVED[former] in str(warning.message) for warning in caught)


def test_a_former_package_is_empty_and_other_names_are_not_found() -> None:
    sys.modules.pop("bundle.reports", None)
    assert [name for name in vars(importlib.import_module("bundle.reports")) if not name.startswith("_")] == []
    with pytest.raises(ModuleNotFoundError, match=r"bundle\.reports\.nothing"):
        importlib.import_module("bundle.reports.nothing")
    install()
    assert sum(type(finder).__name__ == "_FormerNames" for finder in sys.meta_path) == 1, "once is enough"
