"""Medical Segmentation Decathlon (medicaldecathlon.com): one unpacked task, such as Task07_Pancreas or Task09_Spleen.

Traps: macOS' hidden `._` files next to every scan (also in some `dataset.json`), tasks that are MRI, a tumour of the pancreas
stored as a value of its own besides the pancreas.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.data import listing
from bundle.data.listing import EXAMPLE
from bundle.data.prepare.plan import Plan, PlannedCase, find_folders, not_found
from bundle.errors import UserError, counted
from bundle.json_input import kind, read_object

PARTS = {"pancreas": ("pancreas", "cancer", "tumour", "tumor"), "kidney": ("kidney", "right kidney", "left kidney")}


def plan(source: Path) -> Plan:
    """Cases of one task, as its folders have them; what `dataset.json` lists beyond them is reported."""
    folders = find_folders(source, "imagesTr", "labelsTr")
    if not folders:
        raise not_found(source, "MSD task", "imagesTr, labelsTr and dataset.json (such as Task07_Pancreas)")
    if len(folders) > 1:
        raise UserError(source, f"holds {len(folders)} tasks", f"give one of them: {', '.join(folder.name for folder in folders)}")
    folder = folders[0]
    path = folder / "dataset.json"
    about = read_object(path, EXAMPLE) if path.is_file() else {}
    _check_modality(path, about)
    _check_regions(path, about.get("labels"))
    training = about.get("training", [])
    if not isinstance(training, list):
        raise UserError(path, f'"training" is {kind(training)}, not a list', "take it away, or write a list of cases")
    found = listing.from_folders(folder)
    structures = {name: value for value, name in sorted(found.value_names.items()) if value}
    if not structures:
        raise UserError(path, "does not say what the label values mean", 'add {"labels": {"1": "pancreas"}}')
    merged = {}
    for own, words in PARTS.items():
        members = [name for name in structures if name.lower() in words]
        if len(members) > 1 and own in structures:
            merged[own] = members
    name = f"MSD {about.get('name') or folder.name}"
    result = Plan(name, about.get("reference") or "http://medicaldecathlon.com", about.get("licence") or "CC BY-SA 4.0", structures, merged)
    for problem in found.problems:
        result.warnings.append(str(problem))
    hidden = sum(path.name.startswith("._") for part in ("imagesTr", "labelsTr", "imagesTs") for path in (folder / part).glob("._*"))
    if hidden:
        result.warnings.append(f"{counted(hidden, 'hidden file')} of macOS (._*) left out")
    listed = sum(not Path(str(entry.get("image"))).name.startswith("._") for entry in training if isinstance(entry, dict))
    if listed and listed != len(found.labelled):
        result.warnings.append(f"dataset.json lists {counted(listed, 'training case')}, the folders hold {len(found.labelled)}")
    for parts in merged.values():
        result.warnings.append(f"{' and '.join(parts)} are values of their own: labels.json counts them as one organ")
    for case in found.cases:
        images = Path(case.image)
        labels = (Path(case.label),) if case.label else ()
        if labels or images.parent.name == "imagesTs":
            result.cases.append(PlannedCase(case.name, images, labels, case.section or ("training" if labels else "test")))
    return result


def _check_regions(path: Path, labels: Any) -> None:
    """Refuse nnU-Net's regions, which are several values under one name and may overlap: one name would stand for the last of them."""
    for name, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, list):
            problem = f'"labels" has a region of several values ({name}: {value})'
            raise UserError(path, problem, "write a name for each value; `labels` of train.json can join them again")


def _check_modality(path: Path, about: dict[str, Any]) -> None:
    """Refuse what `modality` (MSD), or else `channel_names` (nnU-Net v2), says to be something else than one CT."""
    key = next((key for key in ("modality", "channel_names") if key in about), None)
    if key is None:
        return
    stated = about[key]
    if not isinstance(stated, dict):
        raise UserError(path, f'"{key}" is {kind(stated)}, not an object', f'write {{"{key}": {{"0": "CT"}}}}')
    words = [str(word) for word in stated.values()]
    if [word.strip().upper() for word in words] != ["CT"]:
        problem = f"the task is not a CT data set ({key} {', '.join(words)[:80] or 'names nothing'})"
        raise UserError(path, problem, f'choose a task on CT, such as Task07_Pancreas; where it is one, write {{"{key}": {{"0": "CT"}}}}')
