"""TotalSegmentator data set, v1 and v2 (doi:10.5281/zenodo.10047292): `s0001/ct.nii.gz`, `s0001/segmentations/NAME.nii.gz`, `meta.csv`.

Traps: one file a structure, merged here by name into one label map; left and right are files of their own; many scans do not
show the abdomen, so that a structure's file is there but empty; the split is in `meta.csv` (semicolons, byte order mark);
some downloads of v1 have files that cannot be unpacked (s0864).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bundle.data.datalist import ENDINGS
from bundle.data.prepare.files import link
from bundle.data.prepare.plan import Plan, PlannedCase, Targets, label_maps, not_found
from bundle.errors import UserError, counted
from bundle.images import read, write_nifti
from bundle.images.nifti import header

DEFAULT = {"pancreas": ["pancreas"], "spleen": ["spleen"], "kidney": ["kidney_left", "kidney_right"]}
FIX = """use --structures='{"kidney": ["kidney_left", "kidney_right"]}' or --structures=all"""
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def plan(source: Path, *, structures: Mapping[str, list[str]] | str | None = None, keep_empty: bool = False) -> Plan:
    """Cases with a CT and segmentations, in the split of `meta.csv`.

    Args:
        source: the unpacked folder.
        structures: name to the files merged under it (values 1, 2, ... in that order), as a dictionary, or "all" for every
            file on its own; by default the bundle's pancreas, spleen and kidney.
        keep_empty: keep scans in which none of the structures is seen.
    """
    found = {path.parent for pattern in ("s*/ct.nii*", "*/s*/ct.nii*") for path in source.glob(pattern)}
    images = {folder: [path for path in _niftis(folder) if _structure_name(path) == "ct"] for folder in sorted(found)}
    scans = [folder for folder, files in images.items() if files]
    if not scans:
        raise not_found(source, "folders s0001 with ct.nii.gz", "s0001/ct.nii.gz, s0001/segmentations and meta.csv")
    there = {folder: label_maps(_niftis(folder / "segmentations"), _structure_name) for folder in scans}
    wanted, lacking = _present(_wanted(structures, scans), there)
    values = {name: value for value, name in enumerate(wanted, start=1)}
    options = {"structures": wanted, "keep_empty": keep_empty}
    licence = "see the record of the version you downloaded (CC BY 4.0, or CC BY-NC-SA 2.0)"
    where = "https://doi.org/10.5281/zenodo.10047292"
    result = Plan("TotalSegmentator", where, licence, values, {}, [], lacking, convert, links_images=True, options=options)
    split = _split(scans[0].parent, result)
    incomplete: dict[str, list[str]] = {}
    for folder, files in there.items():
        absent = [part for parts in wanted.values() for part in parts if part not in files]
        if absent:
            incomplete.setdefault(absent[0], []).append(folder.name)
            continue
        chosen = tuple(files[part] for parts in wanted.values() for part in parts)
        image, *others = images[folder]
        if others:
            result.warnings.append(f"{folder.name} has {len(others) + 1} images: {image.name} is used, not {others[0].name}")
        result.cases.append(PlannedCase(folder.name, image, chosen, split.get(folder.name, "training")))
    if without := [folder.name for folder, files in images.items() if not files]:
        result.warnings.append(f"{_names_are(without)} left out: no ct.nii.gz")
    result.warnings += [f"{_names_are(names)} left out: no segmentations/{part}.nii.gz" for part, names in incomplete.items()]
    unknown = [case.name for case in result.cases if split and case.name not in split]
    if unknown:
        names, has = _names(unknown), "has" if len(unknown) == 1 else "have"
        result.warnings.append(f"{names} {has} no split in meta.csv (train, val or test): counted as training")
    return result


def convert(case: PlannedCase, targets: Targets, options: Mapping) -> list[str]:
    """Link the CT and merge the structures' files; a scan that shows none of them is not written."""
    names = [_structure_name(path) for path in case.labels]
    value_of = {part: value for value, parts in enumerate(options["structures"].values(), start=1) for part in parts}
    image = header(case.image)
    merged, twice = np.zeros(image.shape[:3], np.uint8), 0
    for name, path in zip(names, case.labels, strict=True):
        part, affine, _ = read(path)
        if part.shape != merged.shape or not np.allclose(affine, image.affine, atol=1e-2):
            raise ValueError(f"segmentations/{path.name} has another grid than {case.image.name}")
        mask = part > 0
        twice += int(((merged > 0) & (merged != value_of[name]) & mask).sum())
        merged[mask & (merged == 0)] = value_of[name]
    if not merged.any() and not options["keep_empty"]:
        return ["left out: it shows none of the structures"]
    write_nifti(Path(f"{targets.label}.nii.gz"), merged, image.affine)
    link(case.image, targets.image, options.get("link", "symlink"))
    return [f"{counted(twice, 'voxel is', 'voxels are')} in two structures, and taken for the first"] if twice else []


def _wanted(structures: Mapping[str, list[str]] | str | None, scans: list[Path]) -> dict[str, list[str]]:
    if structures == "all":
        return {name: [name] for name in sorted(map(_structure_name, _niftis(scans[0] / "segmentations")))}
    if structures is None:
        return DEFAULT
    if not isinstance(structures, Mapping) or not structures:
        raise UserError("structures", f"{structures!r} names no structures", FIX)
    wanted = {name: [parts] if isinstance(parts, str) else parts for name, parts in structures.items()}
    for name, parts in wanted.items():
        if not isinstance(name, str) or not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
            raise UserError("structures", f"{name!r} has {parts!r}, not names of files", FIX)
    owner: dict[str, str] = {}
    for name, part in ((name, part) for name, parts in wanted.items() for part in parts):
        if owner.setdefault(part, name) != name:
            problem = f"{part} is named under {owner[part]!r} and under {name!r}, and a voxel has one value only"
            raise UserError("structures", problem, "name each file under one structure")
    return {name: list(dict.fromkeys(parts)) for name, parts in wanted.items()}


def _present(wanted: Mapping[str, list[str]], there: Mapping[Path, Mapping]) -> tuple[dict[str, list[str]], list[str]]:
    """Without the files that no scan has, and a line for each of them."""
    anywhere = {name for files in there.values() for name in files}
    lacking = [part for parts in wanted.values() for part in parts if part not in anywhere]
    kept = {name: [part for part in parts if part in anywhere] for name, parts in wanted.items()}
    return {name: parts for name, parts in kept.items() if parts}, [f"no scan has segmentations/{part}.nii.gz" for part in lacking]


def _split(folder: Path, result: Plan) -> dict[str, str]:
    """Section of each scan of which `meta.csv` says it; without it all are training."""
    table = folder / "meta.csv"
    if not table.is_file():
        result.warnings.append("there is no meta.csv: all scans count as training, split by folds")
        return {}
    try:
        text = table.read_text(encoding="utf-8-sig")
        # the cells that a short line lacks, such as the last one of a file that is cut off, are ""
        rows = list(csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ",", restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(table, f"cannot be read as a table ({getattr(error, 'strerror', None) or error})", "download it again") from error
    said = {row.get("image_id", "").strip(): row.get("split", "").strip().lower() for row in rows}
    split = {name: SPLITS[word] for name, word in said.items() if word in SPLITS}
    if not split:
        result.warnings.append("meta.csv names no split (columns image_id and split): all scans count as training, split by folds")
    return split


def _niftis(folder: Path) -> list[Path]:
    visible = (path for path in sorted(folder.glob("*")) if not path.name.startswith("."))
    return [path for path in visible if path.name.lower().endswith(ENDINGS) and path.is_file()]


def _names_are(names: list[str]) -> str:
    return f"{_names(names)} {'is' if len(names) == 1 else 'are'}"


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _structure_name(path: Path) -> str:
    return path.name.split(".")[0]
