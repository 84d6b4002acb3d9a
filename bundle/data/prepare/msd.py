"""Medical Segmentation Decathlon (medicaldecathlon.com): one unpacked task, such as Task07_Pancreas or Task09_Spleen.

Traps: macOS' hidden `._` files next to every scan (also in some `dataset.json`), tasks that are MRI, a tumour of the pancreas
stored as a value of its own besides the pancreas.
"""

from __future__ import annotations

import json
from pathlib import Path

from bundle.data import listing
from bundle.data.prepare.plan import Plan, PlannedCase, find_folders, not_found
from bundle.errors import UserError, counted

PARTS = {"pancreas": ("pancreas", "cancer", "tumour", "tumor"), "kidney": ("kidney", "right kidney", "left kidney")}


def plan(source: Path) -> Plan:
    """Cases of one task, as its folders have them; what `dataset.json` lists beyond them is reported."""
    folders = find_folders(source, "imagesTr", "labelsTr")
    if not folders:
        raise not_found(source, "MSD task", "imagesTr, labelsTr and dataset.json (such as Task07_Pancreas)")
    if len(folders) > 1:
        raise UserError(source, f"holds {len(folders)} tasks", f"give one of them: {', '.join(folder.name for folder in folders)}")
    folder = folders[0]
    about = json.loads((folder / "dataset.json").read_text(encoding="utf-8")) if (folder / "dataset.json").is_file() else {}
    modality = [str(word) for word in about.get("modality", {"0": "CT"}).values()]
    if modality != ["CT"]:
        raise UserError(folder, f"is not a CT data set (modality {', '.join(modality)})", "choose a task on CT, such as Task07_Pancreas")
    found = listing.from_folders(folder)
    structures = {name: value for value, name in sorted(found.value_names.items()) if value}
    if not structures:
        raise UserError(folder / "dataset.json", "does not say what the label values mean", 'add {"labels": {"1": "pancreas"}}')
    merged = {}
    for own, words in PARTS.items():
        members = [name for name in structures if name.lower() in words]
        if len(members) > 1 and own in structures:
            merged[own] = members
    name = f"MSD {about.get('name') or folder.name}"
    result = Plan(name, about.get("reference") or "http://medicaldecathlon.com", about.get("licence", "CC BY-SA 4.0"), structures, merged)
    for problem in found.problems:
        result.warnings.append(str(problem))
    hidden = sum(path.name.startswith("._") for part in ("imagesTr", "labelsTr", "imagesTs") for path in (folder / part).glob("._*"))
    if hidden:
        result.warnings.append(f"{counted(hidden, 'hidden file')} of macOS (._*) left out")
    listed = sum(not Path(str(entry.get("image"))).name.startswith("._") for entry in about.get("training", []) if isinstance(entry, dict))
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
