"""Verb `table`: `cases.csv` in the forms that statistics programs want: a row per case, or a row per measurement."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bundle.errors import UserError
from bundle.quality.cases import read_cases_csv
from bundle.results import outputs
from bundle.tables import write_csv

# columns of `cases.csv` that are about the case, and those that are about a structure in it
OF_CASE = ("case", "source", "status", "review", "score", "reasons", "voxels", "spacing_mm", "field_of_view_mm", "seconds", "error")
OF_STRUCTURE = (
    *("volume_ml", "mean_hu", "sd_hu", "centroid_x_mm", "centroid_y_mm", "centroid_z_mm", "touches_border", "components"),
    *("left_out_ml", "confidence_mean", "confidence_min", "expected_dice", "flip_disagreement"),
)
LONG = ("case", "structure", "measure", "value")

Rows = list[dict[str, str]]


def table(output_dir: str | os.PathLike, wide: bool = False, long: bool = False, out: str | None = None) -> None:
    """Write the `cases.csv` of a folder of results as `cases_wide.csv` (a row per case), `cases_long.csv` (a row per value), or both.

    Args:
        output_dir: folder of results.
        wide: a row per case, columns such as `spleen_volume_ml`.
        long: a row per case, structure and measure, with its value. Without a choice, both are written.
        out: the file to write, where one form is asked for; by default in the folder.

    Raises:
        UserError: there is no `cases.csv`, or `out` is to hold both forms.
    """
    folder = Path(output_dir)
    if not (folder / outputs.TABLE).is_file():
        raise UserError(folder, f"there is no {outputs.TABLE} here", "give the folder that inference has written to")
    if out is not None and wide == long:
        raise UserError(out, "one file cannot hold both forms", "add --wide or --long")
    rows = read_cases_csv(folder, ("case", "structure"))
    if wide or not long:
        columns, wide_rows = wide_form(rows)
        print(write_csv(out or folder / outputs.WIDE_TABLE, columns, wide_rows))
    if long or not wide:
        print(write_csv(out or folder / outputs.LONG_TABLE, LONG, long_form(rows)))


def wide_form(rows: Iterable[Mapping[str, str]]) -> tuple[list[str], Rows]:
    """(columns, rows) with a row per case: what is about the case, then `<structure>_<measure>` for every structure."""
    structures: dict[str, None] = {}
    cases: dict[str, dict[str, str]] = {}
    for row in rows:
        case = cases.setdefault(row["case"], {name: row.get(name, "") for name in OF_CASE})
        if row["structure"]:
            structures[row["structure"]] = None
            case |= {f"{row['structure']}_{measure}": row.get(measure, "") for measure in OF_STRUCTURE}
    return [*OF_CASE, *(f"{name}_{measure}" for name in structures for measure in OF_STRUCTURE)], list(cases.values())


def long_form(rows: Iterable[Mapping[str, str]]) -> Rows:
    """A row per case, structure and measure; what is not known is left out, and so are cases without structures."""
    return [
        {"case": row["case"], "structure": row["structure"], "measure": measure, "value": row.get(measure, "")}
        for row in rows
        for measure in OF_STRUCTURE
        if row["structure"] and row.get(measure, "") != ""
    ]
