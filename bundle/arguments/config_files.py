"""Configs as a person names them: by path, or by the name of one of this bundle's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundle import root
from bundle.errors import UserError

Names = str | Sequence[str]


def config_path(item: str) -> str:
    """The path of a config: as given, or in the bundle, or by the name of one in the bundle's `configs/` or a folder below it."""
    configs = Path(root()) / "configs"
    for path in (Path(item), Path(root()) / item, *sorted(configs.rglob(f"{item}.json") if Path(item).name == item else [])):
        if path.is_file():
            return str(path.resolve())
    known = ", ".join(sorted(path.stem for path in configs.rglob("*.json")))
    raise UserError(item, "there is no such config", f"give a path, or one of {known}")


def as_list(items: Names | int) -> list[str]:
    """Names in a text with commas, or one by one."""
    if isinstance(items, str):
        return [item.strip() for item in items.split(",") if item.strip()]
    return [str(items)] if isinstance(items, int) else [str(item) for item in items]
