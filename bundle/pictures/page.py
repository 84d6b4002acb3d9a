"""`index.html` over a folder of results: the cases that need a look first, their slices, and what a person notes about them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.errors import counted
from bundle.files import spelled, write_text
from bundle.pictures.page_data import FAILED_CASE, REVIEW, origin, page_data
from bundle.results import outputs

PAGE_NAME = outputs.PAGE
PARTS = Path(__file__).with_name("page_parts")
SCRIPTS = ("notes.js", "table.js", "case.js")


def write_page(output_dir: str | os.PathLike, *, title: str | None = None) -> Path:
    """Write `index.html` over the `cases.csv` of a folder, whole at any moment, and return its path.

    It opens offline, by `file://` too: nothing comes from elsewhere, and its security policy forbids it. The figures are in
    the page; pictures stay files next to it and load as they are needed. Failed cases come first, then those to review, worst
    score first. The same results give the same bytes.

    Args:
        output_dir: folder with `cases.csv`, `run.json` and the pictures of the cases.
        title: heading of the page; the folder's name by default.
    """
    folder = Path(output_dir)
    data = page_data(folder)
    style = (PARTS / "page.css").read_text(encoding="utf-8")
    script = '"use strict";\n{\n' + "\n".join((PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS) + "}\n"
    parts = {
        "policy": f"default-src 'none'; img-src 'self' file:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        "title": html.escape(title if title is not None else spelled(folder.resolve().name)),
        "style": style,
        "summary": html.escape(_summary(data)),
        "origin": html.escape(origin(folder, data)),
        "data": _json(data),
        "script": script,
    }
    # all marks at once: what takes the place of one is never looked at again
    text = re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], (PARTS / "page.html").read_text(encoding="utf-8"))
    path = folder / PAGE_NAME
    write_text(path, text)
    return path


def _summary(data: Mapping[str, Any]) -> str:
    verdicts = [case["verdict"] for case in data["cases"]]
    return f"{counted(len(verdicts), 'case')}, {verdicts.count(REVIEW)} to review, {verdicts.count(FAILED_CASE)} failed"


def _digest(text: str) -> str:
    """The digest by which a browser knows a style or a script that it may use (CSP)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element that it is in, whatever names are in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\u2028\u2029\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
