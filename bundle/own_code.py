"""A config runs the code next to it: from a folder that is not installed, and where another copy of the bundle is.

MONAI puts a bundle's folder on `sys.path` only in `run`, after `initialize` and before nothing that reads a property. It hands the
path of a config to no expression, so this module looks for it in the calls that led here: MONAI's workflows and tools know it.

Three places use it. The key `code_root` of the configs makes `bundle` importable and calls `begin`. Importing `bundle` calls
`give_way`: an installed copy leaves the field to the config's own. `check` refuses a config whose code cannot be loaded any more,
because that of another copy is in use in this process.
"""

from __future__ import annotations

import filecmp
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent.parent
PACKAGE = __name__.partition(".")[0]


def begin() -> str:
    """Folder of the bundle that the running config belongs to; names that its `imports` could not find are imported now.

    It is the config's own folder where that holds code or weights, otherwise the folder of this code.

    Raises:
        UserError: as `check`.
    """
    check()
    _import_again()
    own = own_root()
    return str(own if own is not None and (_has_code(own) or (own / "models").is_dir()) else HERE)


def check() -> None:
    """Refuse a config that has code of its own while other code is in use; a copy of the same code is no other.

    Raises:
        UserError: such a config, with both folders.
    """
    own = own_root()
    if own is not None and _has_code(own) and own != HERE and not _same_code(own):
        from bundle.errors import UserError

        problem = f"its own code is not what runs: that of {HERE} is loaded in this process already"
        raise UserError(own / "configs", problem, "give the config of that folder, or use a process of its own for each of the two")


def give_way() -> None:
    """While `bundle` is imported for a config that has code of its own: import that instead of this, and say so in one line."""
    own = own_root()
    if own is None or own == HERE or not _has_code(own):
        return
    print(f"bundle: the code next to the config runs ({own}), not that of {HERE}", file=sys.stderr, flush=True)
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    sys.path.insert(0, str(own))
    importlib.import_module(PACKAGE)


def own_root() -> Path | None:
    """Folder above the `configs` of the config that MONAI is evaluating; None where no such config is to be seen."""
    folder = next(filter(None, map(_config_folder, _frames())), None)
    if folder is None:
        return None
    # MONAI's own reading: a config that is not in `configs` is in the root itself
    folder = folder.resolve()
    return folder.parent if folder.name == "configs" else folder


def _config_folder(frame: FrameType) -> Path | None:
    """What a call of MONAI's knows of the folder of its config."""
    if not frame.f_globals.get("__name__", "").startswith("monai.bundle."):
        return None
    known = getattr(frame.f_locals.get("self"), "__dict__", {}).get("config_root_path")
    if known is not None:
        return Path(known)
    for name in ("config_file_", "config_file"):  # the tools: ckpt_export, onnx_export, verify_net_in_out
        files = frame.f_locals.get(name)
        first = next(iter(files), None) if isinstance(files, (list, tuple)) else files
        if isinstance(first, str):
            return Path(first).parent
    return None


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _has_code(root: Path) -> bool:
    return (root / PACKAGE / "__init__.py").is_file()


def _same_code(root: Path) -> bool:
    """Whether the modules of a bundle are these, byte by byte."""
    there, here = (sorted(path.relative_to(folder) for path in (folder / PACKAGE).rglob("*.py")) for folder in (root, HERE))
    return there == here and not any(filecmp.cmpfiles(root, HERE, map(str, here), shallow=False)[1:])


def _import_again() -> None:
    """Evaluate the imports of the config anew where they came before `bundle` could be found: MONAI keeps what failed."""
    parser: Any = next((found for frame in _frames() if (found := _parser(frame)) is not None), None)
    if parser is None or parser.globals.get(PACKAGE) is sys.modules[PACKAGE]:
        return
    for name, item in parser.ref_resolver.items.items():
        if hasattr(item, "is_import_statement") and item.is_import_statement(item.get_config()):
            parser.ref_resolver.resolved_content[name] = item.evaluate()


def _parser(frame: FrameType) -> Any:
    found = frame.f_locals.get("self")
    return found if type(found).__name__ == "ConfigParser" else None
