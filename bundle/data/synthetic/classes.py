"""Synthetic CT whose class is known: the contrast phase, or the region of the body; to learn and to test classifiers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from bundle.data.own_folder import claim
from bundle.data.synthetic.phantom import run_parallel
from bundle.errors import UserError, counted
from bundle.files import write_json

# Raise when the same seed begins to give other images.
VERSION = 1
PARTS = ("images",)
SCANS = r"(phase|region)_\d+\.nii\.gz"
SPACING = (3.0, 3.0, 3.0)
SECTIONS = ("training", "validation", "test")
# names for `bundle.data.synthetic.tissues.PHASES`
PHASES = ("none", "arterial", "portal", "delayed")
# lowest and highest level of a region in mm, 0 is the second lumbar vertebra. The iliac crests are at -82, the domes of the
# diaphragm at about 125: between two regions is a gap that belongs to none
REGIONS = {"pelvis": (-205.0, -95.0), "abdomen": (-75.0, 105.0), "thorax": (150.0, 285.0)}
CLASSES = {"phase": PHASES, "region": tuple(REGIONS)}
# thickness of a slab of one region, in mm
SLAB = (75.0, 110.0)
# levels of the lower and of the upper end of a scan whose phase is asked
ABDOMEN = ((-150.0, -60.0), (90.0, 170.0))
# a phase between two neighbours counts as the nearer one
PHASE_SPREAD, PHASE_LIMIT = 0.15, 0.4


def phantom_classes(out: str, of: str = "phase", cases: int = 96, seed: int = 0, jobs: int | None = None, overwrite: bool = False) -> Path:
    """Write synthetic CT with a class each to the folder OUT: `python -m bundle phantom-classes OUT --of region --cases 96`.

    Half of the scans are for training, a quarter each for validation and test; in each section the classes are as frequent as each
    other, to one case. `dataset.json` is the list that `configs/overlays/train/classify.json` reads. Existing scans are kept, so that
    an interrupted run resumes.

    Args:
        out: folder of the data set (`images/`, `dataset.json`).
        of: `phase`: none, arterial, portal or delayed contrast in scans of the abdomen. `region`: a slab of 75 to 110 mm of the
            pelvis, the abdomen or the thorax, in any phase.
        cases: number of scans.
        seed: the same seed gives the same scans.
        jobs: processes; one per core by default.
        overwrite: write again what is there already; scans of another seed are removed first.

    Raises:
        UserError: an argument that cannot be used, or the folder holds something else.
    """
    if of not in CLASSES:
        raise UserError("--of", f"{of!r} is not a kind of class", f"use {' or '.join(CLASSES)}")
    least = 4 * len(CLASSES[of])
    if isinstance(cases, bool) or not isinstance(cases, int) or cases < least:
        raise UserError("--cases", f"{cases!r} is too few for a case of each class in each section", f"give {least} or more")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError("--seed", f"{seed!r} is not a whole number from 0", "for example --seed 0")
    folder = Path(out)
    own = {"of": of, "seed": seed, "version": VERSION}
    claim(folder, "phantom_classes", own, parts=PARTS, overwrite=overwrite, scans=SCANS)
    _describe(folder, of, cases, own)
    todo = [index for index in range(cases) if overwrite or not _path(folder, of, index).exists()]
    run_parallel(partial(_write_case, folder, of, seed), todo, jobs=jobs, title="scans")
    print(f"{counted(cases, 'scan')} of {len(CLASSES[of])} classes ({', '.join(CLASSES[of])}) in {folder}")
    return folder


def class_of(of: str, index: int) -> str:
    """The class of scan `index`: one after the other."""
    return CLASSES[of][index % len(CLASSES[of])]


def section_of(of: str, index: int) -> str:
    """The section of scan `index`: of four rounds through the classes, two are for training."""
    return ("training", "validation", "training", "test")[index // len(CLASSES[of]) % 4]


def make_scan(of: str, seed: int, index: int) -> np.ndarray:
    """(X, Y, Z) int16 image in HU, in RAS with voxels of `SPACING`, of the class `class_of(of, index)`."""
    from bundle.data.synthetic.recipes import from_levels

    rng = np.random.default_rng([seed, index])
    name = class_of(of, index)
    phase = None
    if of == "phase":
        jitter = float(np.clip(rng.normal(0, PHASE_SPREAD), -PHASE_LIMIT, PHASE_LIMIT))
        phase = float(np.clip(PHASES.index(name) + jitter, 0, len(PHASES) - 1))
        low, high = (float(rng.uniform(*ends)) for ends in ABDOMEN)
    else:
        bottom, top = REGIONS[name]
        thickness = float(rng.uniform(*SLAB))
        low = float(rng.uniform(bottom, top - thickness))
        high = low + thickness
    image, _ = from_levels(rng, SPACING, low, high, phase)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _path(folder: Path, of: str, index: int) -> Path:
    return folder / "images" / f"{of}_{index:04d}.nii.gz"


def _write_case(folder: Path, of: str, seed: int, index: int) -> None:
    from bundle.images.writing import write_nifti

    write_nifti(_path(folder, of, index), make_scan(of, seed, index), np.diag([*SPACING, 1.0]))


def _describe(folder: Path, of: str, cases: int, own: dict) -> None:
    """Write `dataset.json`, before any scan: the folder is known as ours by it."""
    content: dict = {
        "name": f"synthetic CT, {of}",
        "description": "Made-up CT whose class is known, by `python -m bundle phantom-classes`. No patient data.",
        "licence": "Apache-2.0",
        "classes": list(CLASSES[of]),
        **{section: [] for section in SECTIONS},
        "phantom_classes": own,
    }
    for index in range(cases):
        entry = {"image": f"./images/{_path(folder, of, index).name}", "class": class_of(of, index)}
        content[section_of(of, index)].append(entry)
    write_json(folder / "dataset.json", content)
    for name in PARTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
