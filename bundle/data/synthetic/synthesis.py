"""CT synthesised from real anatomies: the training set of the published weights, at 2 mm, in MSD layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from bundle.data.own_folder import claim
from bundle.data.synthetic.phantom import LABELS, run_parallel
from bundle.data.synthetic.sources import PERSON, SPACING, Sources, further_labels, label_maps, sources_of, whole_bodies
from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.results.identity import file_digest

VERSION = 8
# below, a body takes all memory; above, an organ is a few voxels
EDGES_MM = 0.5, 20.0
# folders of the data set
PARTS = ("imagesTr", "labelsTr", "donors")
KINDS = ("maps", "phantom", "real", "people")
SCANS = rf"({'|'.join(KINDS)}|heldout)_\d+\.nii\.gz"


def synthesise(
    out: str,
    cases: int = 300,
    seed: int = 0,
    maps: str | None = None,
    real: str | None = None,
    people: str | None = None,
    validation: int = 12,
    shares: tuple[float, float, float, float] = (0.35, 0.1, 0.15, 0.4),
    spacing: float = 2.0,
    whole: float = 0.0,
    jobs: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write CT synthesised from label maps (and a real CT made new) to OUT: `python -m bundle synthesise OUT --maps FOLDER`.

    Existing cases are kept, so the command resumes where it was interrupted, and more cases can be added. The
    lists hold what exists, and grow with it: a training with `grow` takes up each scan in the epoch after it was written.

    Args:
        out: folder of the data set (imagesTr, labelsTr, dataset.json with the sections training and validation).
        cases: scans for training.
        seed: the same seed gives the same scans.
        maps: folder of label maps of real scans (values as in `bundle.data.synthetic.donors.MULTIORGAN`); every sixth map
            is kept out of training for the validation scans. Without such a folder no scan is made of maps.
        real: folder of a real CT, or of several: `ct.nii.gz` and `labels.nii.gz`, for a CT without contrast also `structures.nii.gz` and
            `structures.json`, name to value; see `bundle.data.synthetic.contrast.read_real_scan`. Labels beyond those of the
            three organs, such as one that leaves voxels open, have their names in `labels.json` (name to value).
        people: folder of whole bodies: `NAME/structures.nii.gz` with `structures.json`, name to value; every third is kept out of
            training for the validation scans.
        validation: scans of anatomies that training never sees.
        shares: how many of the training scans come from maps, the procedural anatomy, the real CT and whole bodies, relative to each
            other; 0 for those that are not given.
        spacing: edge of a voxel in mm. 4 is made in an eighth of the time, and is enough for a network that looks at a coarse grid.
        whole: share of the whole bodies that are scanned in all their length, and not from the chest to the pelvis.
        jobs: processes; one per core by default.
        overwrite: write again what is there already; scans of another seed or of other label maps are removed first.

    Raises:
        UserError: a number makes no sense, a folder is missing or holds nothing usable, or `out` holds something else.
    """
    _check_numbers(cases, validation, spacing, whole)
    if not isinstance(shares, (list, tuple)) or len(shares) > len(KINDS) or not all(_is_share(share) for share in shares):
        raise UserError("--shares", f"{shares!r} is not up to {len(KINDS)} numbers from 0", "for example --shares 0.35,0.1,0.15,0.4")
    folder = Path(out)
    files = label_maps(maps) | whole_bodies(people)
    sources = replace(sources_of(folder, files, real), spacing=float(spacing), whole=float(whole))
    names = _names(cases, validation, seed, sources, shares)
    own = _own(seed, sources, files)
    # records of earlier versions do not say which bytes the scans were made of, and one without real CT may get them
    usual = {"spacing": SPACING[0], "whole": 0.0, **{key: own.get(key) for key in ("maps", "real_ct")}}
    before = claim(folder, "synthesis", own, parts=PARTS, usual=usual, overwrite=overwrite, scans=SCANS)
    if "real_ct" in before:  # a run without real CT leaves the scans that were made of them
        own["real_ct"] = before["real_ct"]
    todo = [name for name in names if overwrite or not _exists(folder, name)]
    describe = partial(_describe, folder, names, own, sources)
    describe()
    for name in PARTS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    unprepared = [(name, path) for name, path in files.items() if overwrite or not _prepared(folder, name).exists()]
    run_parallel(partial(_prepare, folder), unprepared, jobs=jobs, title="anatomies")
    run_parallel(partial(_write_case, folder, sources, seed), todo, jobs=jobs, title="synthesis", after=describe)
    print(f"{counted(cases, 'scan')} for training and {validation} for validation in {folder}")
    return folder


def _check_numbers(cases: int, validation: int, spacing: float, whole: float) -> None:
    for key, value in (("cases", cases), ("validation", validation)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UserError(f"--{key}", f"{value!r} is not a whole number from 0", f"for example --{key} 12")
    if isinstance(spacing, bool) or not isinstance(spacing, (int, float)) or not EDGES_MM[0] <= spacing <= EDGES_MM[1]:
        raise UserError(
            "--spacing", f"{spacing!r} is not a number of mm from {EDGES_MM[0]:g} to {EDGES_MM[1]:g}", "for example --spacing 2"
        )
    if not _is_share(whole) or whole > 1:
        raise UserError("--whole", f"{whole!r} is not a share from 0 to 1", "for example --whole 0.2")


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < np.inf


def _names(cases: int, validation: int, seed: int, sources: Sources, shares: tuple[float, ...]) -> list[str]:
    """Names of all scans; the kind of scan i depends on the seed and i alone, so a data set can grow."""
    shares = (*shares, *[0.0] * (len(KINDS) - len(shares)))
    weights = np.array(
        [shares[0] * bool(sources.training), shares[1], shares[2] * bool(sources.real), shares[3] * bool(sources.people)], float
    )
    if not weights.sum() > 0:
        raise UserError("--shares", f"{shares} leaves nothing to draw from", "give the procedural anatomy a share, or --maps, or --real")
    edges = np.cumsum(weights / weights.sum())
    draws = np.random.default_rng([seed, 99]).random(cases)
    kinds = [KINDS[min(int(np.searchsorted(edges, draw, side="right")), len(KINDS) - 1)] for draw in draws]
    return [f"{kind}_{i:04d}" for i, kind in enumerate(kinds)] + [f"heldout_{i:04d}" for i in range(validation)]


def _paths(folder: Path, name: str) -> list[Path]:
    return [folder / "labelsTr" / f"{name}.nii.gz", folder / "imagesTr" / f"{name}.nii.gz"]


def _exists(folder: Path, name: str) -> bool:
    return all(path.exists() for path in _paths(folder, name))


def _own(seed: int, sources: Sources, files: Mapping[str, Path]) -> dict[str, object]:
    """What decides which scan a name means. Real CT may come later, as their scans have names of their own."""
    real = [Path(folder) / name for folder in sources.real for name in ("ct.nii.gz", "labels.nii.gz", "structures.nii.gz")]
    return {
        "seed": seed,
        "version": VERSION,
        "anatomies_training": list(sources.training),
        "anatomies_validation": list(sources.validation),
        "people_training": list(sources.people),
        "people_validation": list(sources.people_held_out),
        "spacing": sources.spacing,
        "whole": sources.whole,
        "maps": _digest(files.values()),
        **({"real_ct": _digest(real)} if real else {}),
    }


def _digest(files: Iterable[Path]) -> str:
    """Of the bytes of several files in their order, those that are there."""
    return hashlib.sha256("".join(file_digest(path) for path in files if path.is_file()).encode()).hexdigest()[:16]


def _prepare(folder: Path, named: tuple[str, Path]) -> None:
    """Turn a label map into a donor or a person, under its name."""
    from bundle.data.synthetic.donors import read_donor, save_donor
    from bundle.data.synthetic.people import read_person, save_person

    name, path = named
    if name.startswith(PERSON):
        save_person(read_person(path), _prepared(folder, name))
    else:
        save_donor(read_donor(path), _prepared(folder, name))


def _prepared(folder: Path, name: str) -> Path:
    return folder / "donors" / f"{name}.npz"


def _describe(folder: Path, names: list[str], own: Mapping[str, object], sources: Sources) -> None:
    """Write `dataset.json` of the scans that exist, and `without_real.json`: the same list less those made from the real CT."""
    names = [name for name in names if _exists(folder, name)]

    def items(held_out: bool, without: str) -> list[dict[str, str]]:
        chosen = [n for n in names if n.startswith("heldout") == held_out and not n.startswith(without)]
        return [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in chosen]

    # Training without the real CT can be tested on it: its carry-over to real scans is then measured, not assumed.
    real_pairs = [{"image": f"{scan}/ct.nii.gz", "label": f"{scan}/labels.nii.gz"} for scan in sources.real]
    for file, without in (("dataset.json", "-"), ("without_real.json", "real")):
        content = {
            "name": "synthetic CT from real anatomies",
            "tensorImageSize": "3D",
            "modality": {"0": "CT"},
            "labels": {**LABELS, **further_labels(sources.real)},
            "training": items(False, without),
            "validation": items(True, without),
            "test": real_pairs if without == "real" else [],
            "synthesis": dict(own) | {"real": bool(sources.real) and without != "real"},
        }
        write_json(folder / file, content)


def _write_case(folder: Path, sources: Sources, seed: int, name: str) -> None:
    from bundle.images.writing import write_nifti

    image, labels, affine = make_scan(sources, name, seed)
    for path, array in zip(_paths(folder, name), (labels, image), strict=True):
        write_nifti(path, array, affine)


def make_scan(sources: Sources, name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One scan at 2 mm or the sources' spacing, RAS: int16 image in HU, uint8 labels, (4, 4) affine.

    Args:
        sources: where anatomies come from.
        name: `KIND_NUMBER`; the kind is one of `KINDS`, or `heldout` for an anatomy kept for validation.
        seed: whole number; the same name and seed give the same scan.
    """
    from bundle.data.synthetic import recipes

    kind, number = name.split("_")
    held_out = kind == "heldout"
    rng = np.random.default_rng([seed, 100 + held_out, int(number)])
    # drawn apart: it changes nothing about the other scans
    whole = bool(np.random.default_rng([seed, 200 + held_out, int(number)]).random() < sources.whole)
    spacing = (sources.spacing,) * 3
    donors = sources.validation if held_out else sources.training
    people = sources.people_held_out if held_out else sources.people
    if held_out:
        kinds = [kind for kind, there in (("maps", donors), ("people", people)) if there] or ["phantom"]
        kind = kinds[int(number) % len(kinds)]
    if kind == "people":
        person = people[int(rng.integers(len(people)))]
        # every second body has the pancreas of another person
        donor = donors[int(rng.integers(len(donors)))] if donors and rng.random() < 0.5 else None
        own = None if donor is None else _donor(sources.donors, donor)
        image, labels = recipes.from_person(_person(sources.donors, person), rng, spacing, own, whole=whole)
    elif kind == "maps":
        donor = donors[int(rng.integers(len(donors)))]
        image, labels = recipes.from_donor(_donor(sources.donors, donor), rng, spacing)
    elif kind == "real":
        scan = sources.real[int(rng.integers(len(sources.real)))] if len(sources.real) > 1 else sources.real[0]
        image, labels = recipes.from_real(_real(scan), rng, spacing)
    else:
        image, labels = recipes.from_nothing(rng, spacing)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -np.array(spacing) * (np.array(image.shape) - 1) / 2
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16), labels, affine


@cache
def _donor(folder: str, name: str):
    from bundle.data.synthetic.donors import load_donor

    return load_donor(Path(folder) / f"{name}.npz")


@cache
def _person(folder: str, name: str):
    from bundle.data.synthetic.people import load_person

    return load_person(Path(folder) / f"{name}.npz")


@cache
def _real(folder: str):
    from bundle.data.synthetic.contrast import read_real_scan

    return read_real_scan(Path(folder))
