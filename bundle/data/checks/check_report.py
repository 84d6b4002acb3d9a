"""What the doctor writes: problems and cases as tables, a summary, and a picture of the distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle import labels as label_block
from bundle.data.checks import rules
from bundle.data.checks.check import Measured
from bundle.data.datalist import Case
from bundle.drawing.figures import new_figure, save_figure
from bundle.errors import counted
from bundle.files import write_json
from bundle.results import outputs
from bundle.tables import write_csv

FINDINGS = "findings.csv"


def write_findings(found: Sequence[rules.Problem], output: Path) -> None:
    """Write every problem as a row of `findings.csv` in `output`.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    write_csv(output / FINDINGS, ["level", "code", "case", "file", "problem", "fix"], [one.row() for one in found])


def write_report(measured: Measured, found: Sequence[rules.Problem], labels: label_block.Labels, output: Path) -> None:
    """Print the summary, and write `cases.csv`, `summary.json` and `distribution.png` beside the `findings.csv` in `output`.

    Raises:
        OSError: the folder cannot be made or written to; the summary has been printed.
    """
    rows = [_row(measured, case, labels, found) for case in measured.listing.cases]
    summary = summarise(rows, labels, found)
    _print(summary)
    write_csv(output / outputs.TABLE, list(rows[0]) if rows else ["case"], rows)
    write_json(output / "summary.json", summary)
    good = [row for row in rows if row["spacing_x"] is not None]
    if good:
        draw(good, measured, labels, output / "distribution.png")
    print(f"written: {output}/{FINDINGS}, {outputs.TABLE}, summary.json{', distribution.png' if good else ''}")


def summarise(rows: Sequence[Mapping], labels: label_block.Labels, found: Sequence[rules.Problem]) -> dict:
    """Numbers over all cases: how many, and minimum, median, maximum of spacing (mm), size and volumes (ml, where present)."""
    volumes = {name: [row[f"{name}_ml"] for row in rows if row[f"{name}_ml"]] for name in label_block.names(labels)[1:]}
    return {
        "cases": len(rows),
        "labelled": sum(row["label"] != "" for row in rows),
        "errors": sum(one.level == "error" for one in found),
        "warnings": sum(one.level == "warning" for one in found),
        "spacing_mm": {axis: _range([row[f"spacing_{axis}"] for row in rows]) for axis in "xyz"},
        "extent_mm": {axis: _range([row[f"extent_{axis}"] for row in rows]) for axis in "xyz"},
        "size": {axis: _range([row[f"size_{axis}"] for row in rows]) for axis in "xyz"},
        "hu": {key: _range([row[key] for row in rows]) for key in ("hu_p0.5", "hu_median", "hu_p99.5")},
        "volume_ml": {name: {"n": len(values), **_range(values)} for name, values in volumes.items()},
    }


def draw(rows: Sequence[Mapping], measured: Measured, labels: label_block.Labels, path: Path) -> None:
    """Four panels: voxel edges, extents, Hounsfield units of every scan, volumes of every structure."""
    figure = new_figure(11, 7.5)
    (spacing, extent), (units, volumes) = figure.subplots(2, 2)
    spacing.scatter([row["spacing_x"] for row in rows], [row["spacing_z"] for row in rows], alpha=0.6)
    spacing.set(title="voxels", xlabel="in plane, mm", ylabel="between slices, mm", xlim=(0, None), ylim=(0, None))
    for axis, name in zip("xyz", ("right-left", "back-front", "feet-head"), strict=True):
        extent.hist([row[f"extent_{axis}"] for row in rows], bins=20, histtype="step", linewidth=2, label=name)
    extent.set(title="extent of the scans", xlabel="mm", ylabel="cases")
    extent.legend(frameon=False)
    for facts in measured.images.values():
        if facts.get("histogram"):
            levels, counts = np.array(facts["histogram"], dtype=float).T
            inside = levels > -900
            units.plot(levels[inside], counts[inside] / max(counts[inside].sum(), 1), linewidth=0.8, alpha=0.5)
    units.set(title="Hounsfield units above -900, one line per scan", xlabel="HU", ylabel="share of the voxels", xlim=(-900, 1000))
    names = label_block.names(labels)[1:]
    values = [[row[f"{name}_ml"] for row in rows if row[f"{name}_ml"]] for name in names]
    for place, volume in enumerate(values):
        jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(volume))
        volumes.scatter(place + jitter, volume, alpha=0.6)
    volumes.set(title="volumes, where present", ylabel="ml", yscale="log" if any(values) else "linear")
    volumes.set_xticks(range(len(names)), [f"{name}\nn={len(volume)}" for name, volume in zip(names, values, strict=True)])
    volumes.tick_params(axis="x", labelrotation=45 if len(names) > 5 else 0)
    save_figure(figure, path)


def _row(measured: Measured, case: Case, labels: label_block.Labels, found: Sequence[rules.Problem]) -> dict:
    """One case as a row: grid, intensities, volumes, and how many problems it has; empty cells where a file could not be read."""
    facts = measured.images[case.name]
    sane = len(facts.get("shape", ())) == 3 and np.isfinite(facts["affine"]).all()
    edges, extents = (rules.spacing(facts), rules.extent_mm(facts)) if sane else ([None] * 3, [None] * 3)
    row: dict[str, Any] = {"case": case.name, "image": case.image, "label": case.label or ""}
    row |= {f"spacing_{axis}": edge and round(edge, 4) for axis, edge in zip("xyz", edges, strict=True)}
    row |= {f"size_{axis}": size for axis, size in zip("xyz", facts["shape"] if sane else [None] * 3, strict=True)}
    row |= {f"extent_{axis}": size and round(size, 1) for axis, size in zip("xyz", extents, strict=True)}
    levels = facts.get("percentiles", {})
    row |= {"hu_p0.5": levels.get("0.5"), "hu_median": levels.get("50"), "hu_p99.5": levels.get("99.5")}
    volumes = rules.volumes_ml(measured.labels.get(case.name, {}), labels)
    row |= {f"{name}_ml": round(volumes[name], 3) if name in volumes else None for name in label_block.names(labels)[1:]}
    return row | {"findings": sum(one.case == case.name for one in found)}


def _range(values: Sequence[float | None]) -> dict[str, float | None]:
    there = [value for value in values if value is not None]
    if not there:
        return {"min": None, "median": None, "max": None}
    return {"min": float(min(there)), "median": float(np.median(there)), "max": float(max(there))}


def _print(summary: Mapping) -> None:
    numbers = [counted(summary[key], key[:-1]) for key in ("cases", "errors", "warnings")]
    print(f"{numbers[0]}, {summary['labelled']} with labels: {numbers[1]}, {numbers[2]}")
    for key, unit in (("spacing_mm", "voxels, mm"), ("size", "size, voxels"), ("extent_mm", "extent, mm")):
        print(f"  {unit:24s}" + "   ".join(f"{axis} {_span(summary[key][axis])}" for axis in "xyz"))
    for name, volume in summary["volume_ml"].items():
        print(f"  {name + ', ml':24s}{_span(volume)}   in {volume['n']} of {counted(summary['labelled'], 'case')}")


def _span(values: Mapping) -> str:
    if values["median"] is None:
        return "-"
    return f"{values['median']:.4g} ({values['min']:.4g} to {values['max']:.4g})"
