"""FLARE 2022 (flare22.grand-challenge.org): 50 labelled CTs, `images/*_0000.nii.gz` and `labels/*.nii.gz`, 13 organs.

Traps: the channel suffix `_0000` of the images only; labels that some unpackers put into a folder of the file's own name;
the 50 labelled scans are from MSD's pancreas task, so the two must not be training and test of each other; later FLARE
challenges (2023 on) label some organs only, which must not count as background.
"""

from __future__ import annotations

from pathlib import Path

from bundle.data.datalist import ENDINGS
from bundle.data.listing import nifti_files, stem
from bundle.data.prepare.plan import Plan, PlannedCase, children, find_folder, label_maps, not_found

STRUCTURES = (
    "liver",
    "right kidney",
    "spleen",
    "pancreas",
    "aorta",
    "inferior vena cava",
    "right adrenal gland",
    "left adrenal gland",
    "gallbladder",
    "esophagus",
    "stomach",
    "duodenum",
    "left kidney",
)
PAIRS = (("images", "labels"), ("imagesTr", "labelsTr"))
UNLABELLED = ("ValidationSet", "Validation", "imagesVal", "imagesTs")


def plan(source: Path) -> Plan:
    """The labelled scans; validation scans, and unlabelled ones next to them, as unlabelled cases."""
    pairs = [(folder, names) for names in PAIRS if (folder := find_folder(source, *names)) is not None]
    if not pairs:
        raise not_found(source, "folders images and labels", "FLARE22_LabeledCase50/images and FLARE22_LabeledCase50/labels")
    folder, names = pairs[0]
    images, labelled = children(folder, *names)
    structures = {name: value for value, name in enumerate(STRUCTURES, start=1)}
    merged = {"kidney": ["right kidney", "left kidney"]}
    result = Plan(
        "FLARE 2022",
        "https://flare22.grand-challenge.org",
        "the rules of the challenge: flare22.grand-challenge.org/Rules",
        structures,
        merged,
    )
    result.warnings.append("the 50 labelled scans are from MSD's pancreas task: do not train on one of the two and test on the other")
    if "flare23" in str(folder).lower() or any("flare23" in path.name.lower() for path in nifti_files(images)):
        result.warnings.append(
            "this looks like FLARE 2023, whose labels leave out organs in many cases: those would be learnt as background"
        )
    labels = _labels(labelled)
    for path in nifti_files(images):
        name = stem(path).removesuffix("_0000")
        if name in labels:
            result.cases.append(PlannedCase(name, path, (labels.pop(name),)))
        else:
            result.warnings.append(f"{path.name} has no label and becomes an unlabelled case")
            result.cases.append(PlannedCase(name, path, section="test"))
    result.warnings += [f"{path.name} is left out: there is no image of that name" for path in labels.values()]
    for beside in UNLABELLED:
        found = find_folder(source, beside)
        for unlabelled in children(found, beside) if found else []:
            result.cases += [PlannedCase(stem(path).removesuffix("_0000"), path, section="test") for path in nifti_files(unlabelled)]
    return result


def _labels(folder: Path) -> dict[str, Path]:
    """Label files by case name, also those in a folder of their own name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name.lower().endswith(ENDINGS)]
    return label_maps((path for path in files if not path.name.startswith(".")), stem)
