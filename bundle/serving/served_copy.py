"""The served copy of the bundle: brought up to date at each start, but for what was trained or edited in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from bundle.errors import UserError
from bundle.files import write_json, write_text, written_aside

FOLDERS = ("configs", "bundle", "docs", "models")
# what people and trainings change there
CHANGED = ("configs/", "models/")
WEIGHTS = "models/model.pt"
# digests of the files as they were copied: a file that has another one was edited
RECORD = "served.json"
FIRST_LINE = '"""Written by `python -m bundle monai-label`: the app that the server loads."""\n'
MAIN = (
    FIRST_LINE
    + """import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "model" / "{model}"))
from bundle.serving.app import BundleApp  # noqa: E402,F401
"""
)


def write_main(app: Path, model: str) -> None:
    """Write `main.py`, first of all files, so that the folder is known as an app of this bundle from then on.

    Raises:
        UserError: the folder holds something else.
    """
    main = app / "main.py"
    fix = "name a new folder with --app, or none"
    if main.exists() and not main.read_text(encoding="utf-8", errors="replace").startswith(FIRST_LINE):
        raise UserError(main, "was not written by this bundle, so it stays as it is", fix)
    if app.exists() and not app.is_dir():
        raise UserError(app, "is not a folder", fix)
    if not main.exists() and app.is_dir() and (others := sorted(path.name for path in app.iterdir() if not path.name.startswith("."))):
        raise UserError(app, f"holds something else ({', '.join(others[:3])})", fix)
    write_text(main, MAIN.format(model=model))


def update(source: Path, target: Path) -> None:
    """Bring configs, code, docs and weights of the served copy up to date. Trained and edited files stay, with a line that says so.

    Args:
        source: the bundle's folder.
        target: its served copy; made if needed.
    """
    target.mkdir(parents=True, exist_ok=True)
    record = _read_record(target)
    recorded = bool(record)
    ours = {name: path for folder in FOLDERS for name, path in _files(source, folder).items()} | {"LICENSE": source / "LICENSE"}
    for name in [name for name in ours if _hides_weights(name)]:
        print(f"not served: {source / name}. MONAI Label takes the .pt with the shortest name, and model.pt is meant. Fix: a longer name")
        del ours[name]
    # of weights none goes: there may be no others
    served = {name: path for folder in FOLDERS if folder != "models" for name, path in _files(target, folder).items()}
    kept = []
    try:
        for name, path in ours.items():
            copy, digest = target / name, _digest(path)
            if not copy.exists() or _digest(copy) != digest:
                # what the record does not have was copied before there was one, or is someone's own
                edited = copy.exists() and (_digest(copy) != record[name] if name in record else name.startswith(CHANGED))
                if edited:
                    kept.append(f"{name}{'' if record.get(name) == digest else ' (the bundle has a newer one)'}")
                    continue
                with written_aside(copy) as aside:
                    shutil.copy2(path, aside)
            record[name] = digest
        for name in served.keys() - ours.keys():
            # what the bundle no longer has; a file of someone's own stays
            if _digest(served[name]) == record.get(name) or (not recorded and not name.startswith(CHANGED)):
                served[name].unlink()
            record.pop(name, None)
    finally:  # of a start that is interrupted, too: what it copied was not edited
        write_json(target / RECORD, record)
    if kept:
        print(f"trained or edited here, so kept: {', '.join(sorted(kept))}. Delete a file in {target} to have the bundle's own again.")


def _hides_weights(name: str) -> bool:
    """Whether a file, by its path from the bundle's folder, would be served in place of `model.pt`; in folders of `models/` none would."""
    path, served = Path(name), Path(WEIGHTS)
    return path.parent == served.parent and path.suffix == ".pt" and path != served and len(path.name) <= len(served.name)


def _read_record(target: Path) -> dict[str, str]:
    try:
        found = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _files(root: Path, folder: str) -> dict[str, Path]:
    """Files of a folder by their path from `root`, without caches and hidden ones."""
    found = {path.relative_to(root): path for path in (root / folder).rglob("*") if path.is_file()}
    return {
        name.as_posix(): path
        for name, path in found.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
