"""A bundle that is copied in no time."""

from __future__ import annotations

from pathlib import Path

import pytest

import bundle


@pytest.fixture
def small_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of a few files, in place of the repository."""
    root = tmp_path / "checkout"
    for name in ("configs/inference.json", "bundle/__init__.py", "docs/README.md", "models/model.pt", "LICENSE", "tests/test_x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(bundle, "root", lambda: str(root))
    return root
