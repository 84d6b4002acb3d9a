"""`index.html` over a folder of results: one self-contained page, sortable, the cases that need a look first."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from bundle.files import write_text
from bundle.pictures.page_template import PAGE
from bundle.quality.cases import CSV_NAME, preview_path, read_cases_csv
from bundle.quality.measure import amount
from bundle.results import outputs

PAGE_NAME = outputs.PAGE
# the embedded previews of all cases together stay below this; many cases get smaller pictures, down to MIN_WIDTH
MAX_PICTURES_BYTES = 24_000_000
MAX_WIDTH, MIN_WIDTH = 1100, 320
JPEG_QUALITY = 78

Rows = Sequence[Mapping[str, str]]


def write_page(output_dir: str | os.PathLike, *, title: str | None = None) -> Path:
    """Write `index.html` over the `cases.csv` and the previews of a folder, atomically, and return its path.

    One file that opens anywhere, offline: previews are embedded as small JPEGs (full size is linked), nothing is loaded
    from elsewhere. Flagged and failed cases come first, worst score first.

    Args:
        output_dir: folder with `cases.csv` and, per case, `<case>_preview.png`.
        title: heading of the page; the folder's name by default.
    """
    folder = Path(output_dir)
    cases: dict[str, list[Mapping[str, str]]] = {}
    for row in read_cases_csv(folder):
        cases.setdefault(row["case"], []).append(row)
    ordered = sorted(cases.values(), key=_urgency)
    fullest_first = sorted(ordered, key=len, reverse=True)
    structures = list(dict.fromkeys(row["structure"] for rows in fullest_first for row in rows if row["structure"]))
    share = int(MAX_PICTURES_BYTES * 3 / 4 / max(1, len(ordered)))  # base64 takes 4 bytes for 3
    title = title or folder.resolve().name
    with ThreadPoolExecutor() as pool:  # Pillow works outside the interpreter's lock
        pictures = list(pool.map(partial(_picture, folder, share=share), [rows[0]["case"] for rows in ordered]))
    text = PAGE.substitute(
        title=html.escape(title),
        summary=html.escape(_summary(ordered)),
        heads="".join(_head(name) for name in ("Case", "Verdict", "Score", *(f"{name} (ml)" for name in structures), "Seconds")),
        rows="\n".join(_row(*row, structures, folder) for row in zip(ordered, pictures, strict=True)),
        footer=html.escape(_footer(folder)),
    )
    path = folder / PAGE_NAME
    write_text(path, text)
    return path


def _footer(folder: Path) -> str:
    """What made the results, as `run.json` has it, when, and what they are not."""
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    try:
        run = json.loads((folder / outputs.RECORD).read_text(encoding="utf-8"))
        path, version = run["settings"]["ckpt_path"], run["bundle"]
        entries = [case.get("settings") or {} for case in run["cases"] if case["status"] == "ok"]
        digests = {str(settings.get("weights"))[:12] for settings in entries if settings.get("weights")}
        made = f"Weights {path}" + (f" (SHA-256 {', '.join(sorted(digests))}...)" if digests else "") + f", bundle {version}. "
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        made = ""
    warning = "For research: this is not a medical device, and a person must check the results."
    return f"{CSV_NAME} holds the figures. {made}Written {written}. {warning}"


def _urgency(rows: Rows) -> tuple[bool, bool, float, str]:
    first = rows[0]
    return first["status"] == "ok", first["review"] != "yes", _float(first["score"], 1.0), first["case"]


def _summary(cases: Sequence[Rows]) -> str:
    failed = sum(rows[0]["status"] != "ok" for rows in cases)
    flagged = sum(rows[0]["review"] == "yes" and rows[0]["status"] == "ok" for rows in cases)
    words = [f"{len(cases)} {'case' if len(cases) == 1 else 'cases'}", f"{flagged} to review", f"{failed} failed"]
    return ", ".join(words)


def _head(text: str) -> str:
    return f'<th scope="col"><button type="button">{html.escape(text)}</button></th>'


def _row(rows: Rows, picture: str, structures: Sequence[str], folder: Path) -> str:
    first = rows[0]
    state = "failed" if first["status"] != "ok" else ("review" if first["review"] == "yes" else "good")
    by_name = {row["structure"]: row for row in rows}
    case, source = html.escape(first["case"]), html.escape(first["source"])
    cells = [
        f'<td class="picture">{picture}</td>',
        f'<th scope="row" data-value="{case.lower()}">{case}<small>{source}</small>{_links(folder, first["case"])}</th>',
        _verdict(first, state),
        _cell(first["score"], 2),
        *(_structure_cell(by_name.get(name)) for name in structures),
        _cell(first["seconds"], 1),
    ]
    return f'<tr class="{state}">{"".join(cells)}</tr>'


def _links(folder: Path, case: str) -> str:
    """Links to what lies beside the page for this case."""
    files = [*(("labels", name) for name in outputs.label_maps(case)), ("preview", outputs.preview(case))]
    files += [("attention", outputs.attention_picture(case)), ("DICOM SEG", outputs.dicom_seg(case)), ("RTSTRUCT", outputs.rtstruct(case))]
    links = [f'<a href="{quote(file)}">{word}</a>' for word, file in files if (folder / file).is_file()]
    return f"<small>{' '.join(links)}</small>" if links else ""


def _verdict(first: Mapping[str, str], state: str) -> str:
    word = {"failed": "Failed", "review": "Review", "good": "No finding"}[state]
    reasons = [first["error"]] if state == "failed" else [reason for reason in first["reasons"].split("; ") if reason]
    items = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    rank = {"failed": 0, "review": 1, "good": 2}[state]
    return f'<td class="verdict" data-value="{rank}"><b>{word}</b>{f"<ul>{items}</ul>" if items else ""}</td>'


def _structure_cell(row: Mapping[str, str] | None) -> str:
    if row is None:
        return '<td class="number" data-value=""></td>'
    notes = []
    if row["mean_hu"]:
        notes.append(f"{_float(row['mean_hu'], 0):.0f} ± {_float(row['sd_hu'], 0):.0f} HU")
    if row["components"] not in ("", "0", "1"):
        notes.append(f"{row['components']} pieces")
    if row["touches_border"] == "yes":
        notes.append("at the border")
    if row["confidence_mean"]:
        notes.append(f"confidence {_float(row['confidence_mean'], 0):.2f}")
    small = "".join(f"<small>{html.escape(note)}</small>" for note in notes)
    return f'<td class="number" data-value="{row["volume_ml"]}">{amount(_float(row["volume_ml"], 0))}{small}</td>'


def _cell(value: str, digits: int) -> str:
    shown = f"{_float(value, 0):.{digits}f}" if value else ""
    return f'<td class="number" data-value="{html.escape(value)}">{shown}</td>'


def _picture(folder: Path, case: str, share: int) -> str:
    path = preview_path(folder, case)
    if not path.is_file():
        return ""
    with Image.open(path) as source:
        picture = source.convert("RGB")
    data, size = _jpeg(picture, share)
    name = html.escape(case)
    return (
        f'<a href="{quote(path.name)}"><img width="{size[0]}" height="{size[1]}" '
        f'alt="Preview of {name}: axial, coronal, sagittal" src="data:image/jpeg;base64,{base64.b64encode(data).decode("ascii")}"></a>'
    )


def _jpeg(picture: Image.Image, most: int) -> tuple[bytes, tuple[int, int]]:
    """A JPEG of at most `most` bytes, and its size in pixels: narrower until it fits, but not below MIN_WIDTH."""
    width = min(MAX_WIDTH, picture.width)
    while True:
        size = (width, max(1, round(picture.height * width / picture.width)))
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
        if buffer.tell() <= most or width <= MIN_WIDTH:
            return buffer.getvalue(), size
        # bytes go about with the area
        width = max(MIN_WIDTH, int(width * min(0.9, (most / buffer.tell()) ** 0.5)))


def _float(text: str, default: float) -> float:
    try:
        return float(text)
    except ValueError:
        return default
