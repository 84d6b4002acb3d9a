"""Tests mirror the modules: what tests `bundle/a/b.py` is in `tests/a/test_b.py`, and few modules are without."""

from __future__ import annotations

from pathlib import Path

import bundle

ROOT = Path(bundle.root())
PACKAGE, TESTS = ROOT / "bundle", ROOT / "tests"

# module -> why it has no test file of its name
WITHOUT = {
    "__main__.py": "tests/test_main.py: the same name without its underscores",
    "networks/authors.py": "the name by which others import networks/weights/authors.py",
    "serving/app.py": "MONAI Label's server imports it: tests/monai_label/test_server.py",
    "serving/checked.py": "MONAI Label's server imports it: tests/monai_label/test_requests.py",
}


def modules() -> list[Path]:
    """Every module below `bundle`; an `__init__.py` names what its package offers and is tested through it."""
    return [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


def mirrored(module: Path) -> Path:
    """The test file of a module."""
    return TESTS / module.parent / f"test_{module.stem}.py"


def test_every_module_has_its_test_file() -> None:
    missing = {module.as_posix() for module in modules() if not mirrored(module).is_file()}
    assert not missing - set(WITHOUT), "put the tests of bundle/a/b.py into tests/a/test_b.py"


def test_the_exceptions_are_modules_that_need_one() -> None:
    known = {module.as_posix(): module for module in modules()}
    assert not {name for name in WITHOUT if name not in known}, "there is no such module any more"
    assert not {name for name in WITHOUT if mirrored(known[name]).is_file()}, "it has its test file: take it out of the list"


def test_no_benchmark_has_the_name_of_a_module_of_the_tests(repository) -> None:
    """Both folders are on the path of a run of tests, and the first of two modules of one name hides the other."""
    names = [{path.stem for path in (repository / folder).glob("*.py")} for folder in ("benchmarks", "tests")]
    assert names[0] and names[0].isdisjoint(names[1])
