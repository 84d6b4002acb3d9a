"""BTCV, Multi-Atlas Labeling Beyond the Cranial Vault, Abdomen (synapse.org syn3193805): `RawData/Training/img, label`.

Traps: image and label have other names (`img0001`, `label0001`); test images have no labels; `RegData` next to `RawData` holds
registered copies of the same scans, which do not belong into a training.
"""

from __future__ import annotations

from pathlib import Path

from bundle.data.listing import nifti_files
from bundle.data.prepare.plan import Plan, PlannedCase, by_number, children, find_folder, label_maps, not_found, number

STRUCTURES = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic veins",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)


def plan(source: Path) -> Plan:
    """The labelled training scans, and the test scans as unlabelled cases."""
    training = find_folder(source, "img", "label")
    if training is None:
        raise not_found(source, "folders img and label", "RawData/Training/img and RawData/Training/label")
    structures = {name: value for value, name in enumerate(STRUCTURES, start=1)}
    merged = {"kidney": ["right kidney", "left kidney"]}
    licence = "Synapse terms of use, syn3193805: registration required"
    result = Plan("BTCV abdomen", "https://doi.org/10.7303/syn3193805", licence, structures, merged)
    if (registered := find_folder(source, "RegData")) is not None:
        result.warnings.append(f"{registered / 'RegData'} holds registered copies of the same scans and is left out")
    images, labels = (nifti_files(part) for part in children(training, "img", "label"))
    _pair(by_number(images, result.warnings), label_maps(labels, number), result)
    for testing in children(training.parent, "Testing"):
        for part in children(testing, "img"):
            found = by_number(nifti_files(part), result.warnings)
            result.cases += [PlannedCase(f"btcv_{case:04d}", path, section="test") for case, path in found.items()]
    return result


def _pair(images: dict[int, Path], labels: dict[int, Path], result: Plan) -> None:
    """Add the cases that have both, and a warning for each that has not."""
    for case in sorted(set(images) | set(labels)):
        if case in images and case in labels:
            result.cases.append(PlannedCase(f"btcv_{case:04d}", images[case], (labels[case],)))
        else:
            missing = "label" if case in images else "image"
            result.warnings.append(f"case {case:04d} is left out: there is no {missing} of that number")
