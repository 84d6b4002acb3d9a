"""Links, anchors, files and Python names in the docs exist; lines are short enough to read."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from docs_text import anchors, links, pages, prose, spans

import bundle

ROOT = Path(bundle.root())
PAGES = pages(ROOT)
# paths that a user or a run makes
MADE = ("data/", "runs/", "models/", "out/", "eval/", "app/")
LONGEST = 140


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links whose file or anchor does not exist."""
    found = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            found.append(link)
        elif anchor and anchor not in anchors(text if path == page else path.read_text(encoding="utf-8")):
            found.append(link)
    return found


def missing_files(text: str) -> list[str]:
    """Files of the repository that are named between backticks and do not exist."""
    named = {
        match for span in spans(text) for match in re.findall(r"(?<![\w./-])(?:configs|bundle|tests|benchmarks|docs)/[\w./-]*\w", span)
    }
    return sorted(name for name in named if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists())


def missing_names(text: str) -> list[str]:
    """Dotted names of the package that cannot be imported."""
    named = {span.split("(")[0].strip(".") for span in spans(text) if re.match(r"bundle\.[\w.]+(\(|$)", span)}
    return sorted(name for name in named if not name.endswith(".py") and not _exists(name))


def _exists(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def long_lines(text: str) -> list[int]:
    """Numbers of lines above the length; tables and links that cannot be broken are left out."""
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > LONGEST and not line.startswith("|") and "://" not in line and line in prose(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert broken_links(page, text) == []
    assert missing_files(text) == []
    assert missing_names(text) == []
    assert long_lines(text) == []


def test_planted_errors_are_found() -> None:
    page = ROOT / "docs" / "inference.md"
    assert broken_links(page, "[a](trainning.md) [b](training.md#kees) [c](#x)\n# X y") == ["trainning.md", "training.md#kees", "#x"]
    assert broken_links(page, "[a](training.md) [c](#x-y) [d](https://x.example/y.md)\n# X y") == []
    assert missing_files("`configs/trian.json` and `configs/train.json`, `tests/x.py::test_y`") == ["configs/trian.json", "tests/x.py"]
    assert missing_names("`bundle.networks.AttentionUnet`, `bundle.networks.AtentionUnet(2)`") == ["bundle.networks.AtentionUnet"]
    assert long_lines("a" * 141 + "\n" + "b" * 140) == [1]
