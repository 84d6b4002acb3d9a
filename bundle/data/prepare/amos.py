"""AMOS 2022 (zenodo.org/records/7262581): `imagesTr/Va/Ts`, `labelsTr/Va/Ts`, `dataset.json`.

Traps: CT and MRI are in the same folders, distinguished by the number only (from 500 on it is MRI); the validation cases have
folders of their own, which readers of the MSD layout overlook; some labels lack whole organs (bladder, prostate/uterus).
"""

from __future__ import annotations

from pathlib import Path

from bundle.data.listing import nifti_files, stem
from bundle.data.prepare.plan import SECTIONS, Plan, PlannedCase, child, find_folder, label_maps, not_found, number
from bundle.errors import counted

FIRST_MRI = 500
STRUCTURES = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "postcava",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
    "duodenum",
    "bladder",
    "prostate/uterus",
)


def plan(source: Path, *, official_split: bool = False) -> Plan:
    """CT cases; with `official_split` imagesVa is the validation section, else it joins the cases that the folds are made of."""
    folder = find_folder(source, "imagesTr", "labelsTr")
    if folder is None:
        raise not_found(source, "folders imagesTr and labelsTr", "imagesTr, labelsTr, imagesVa, labelsVa")
    structures = {name: value for value, name in enumerate(STRUCTURES, start=1)}
    merged = {"kidney": ["right kidney", "left kidney"]}
    result = Plan("AMOS 2022 (CT)", "https://doi.org/10.5281/zenodo.7262581", "CC BY 4.0", structures, merged)
    resonance, lonely = 0, []
    for section, end in SECTIONS.items():
        images, labels = child(folder, f"images{end}"), child(folder, f"labels{end}")
        label_of = label_maps(nifti_files(labels), stem) if labels else {}
        for path in nifti_files(images) if images else []:
            name = stem(path).removesuffix("_0000")
            if (number(name) or 0) >= FIRST_MRI:
                resonance += 1
                continue
            label = label_of.get(name)
            if label is None and section != "test":
                lonely.append(name)
            goes_to = "test" if label is None else section if official_split or section == "test" else "training"
            result.cases.append(PlannedCase(name, path, (label,) if label else (), goes_to))
    if resonance:
        result.warnings.append(f"{counted(resonance, 'scan is', 'scans are')} MRI (numbers from {FIRST_MRI} up), and left out")
    if lonely:
        stay = counted(len(lonely), "scan has no label and stays", "scans have no label and stay")
        result.warnings.append(f"{stay} unlabelled: {', '.join(lonely[:5])}")
    if any(path.section == "training" and "imagesVa" in path.image.parts for path in result.cases):
        result.warnings.append("imagesVa joins the training cases, as AMOS gives no rule for it (--official_split keeps it apart)")
    return result
