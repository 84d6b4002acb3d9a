"""Fixtures shared by all tests: where the repository is, and real CT where it is present."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_abdomen import abdomen  # noqa: F401  a fixture
from no_rights import open_folder  # noqa: F401  a fixture
from warm_python import WarmPython

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("BUNDLE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))

# a shell's background job begins with Ctrl-C ignored, and so does all that it starts: a test that sends it would wait for ever
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# folders whose tests are about numbers: `make test-cpus` runs them under each set of instructions that the CPU has
NUMERIC = ("networks", "transforms", "inferers", "metrics")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of whole folders; others carry the marker themselves."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.path.relative_to(Path(__file__).parent).parts[0] in NUMERIC:
            item.add_marker(pytest.mark.numeric)


def pytest_collection_finish() -> None:
    """What MONAI's import has made stays to the end: the garbage collector need not go through it in every test."""
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout, which is the root of the bundle."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CT and expert labels; tests that ask for it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA} (set BUNDLE_SHARED_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """`warm_python(*words, cwd=, env=)` is `python WORDS` in a process of its own, without the seconds that MONAI's import takes."""
    python = WarmPython(tmp_path_factory.mktemp("warm_python"))
    yield python
    python.close()


@pytest.fixture(scope="module")
def reader_ended() -> Iterator[None]:
    """For modules that read in the reader's process: it is ended after their last test."""
    yield
    from bundle import reader_process

    reader_process.close()
