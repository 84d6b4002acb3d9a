"""The synthetic abdomen: a data set of made-up abdominal CT with labels, in the layout of the Medical Segmentation Decathlon."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from bundle.data.own_folder import claim
from bundle.data.processes import in_processes
from bundle.errors import UserError, counted
from bundle.files import write_json
from bundle.kept_memory import keep_memory
from bundle.limits import cpu_limit

# Raise when the same seed begins to give other images, so that folders written before are not silently mixed.
VERSION = 1
PARTS = ("imagesTr", "labelsTr", "imagesTs")
SCANS = r"(abdomen|unlabelled)_\d+\.nii\.gz"
# of fewer voxels no organ is left
LEAST_VOXELS = 1e4
LABELS = {"0": "background", "1": "pancreas", "2": "spleen", "3": "kidney"}


def write_phantom(
    out: str | os.PathLike,
    cases: int = 20,
    seed: int = 0,
    unlabelled: int = 0,
    jobs: int | None = None,
    overwrite: bool = False,
    max_voxels: float = 8e6,
    progress: bool = True,
) -> Path:
    """Write a data set of synthetic abdominal CT to the folder OUT: `python -m bundle phantom OUT --cases 20 --seed 0`.

    It is in the layout of the Medical Segmentation Decathlon: `imagesTr/`, `labelsTr/`, `imagesTs/`, `dataset.json`. The same seed
    gives the same bytes on one machine, whatever the number of processes. Existing cases are kept, so an interrupted run resumes
    with the same command; a case is written whole or not at all.

    Args:
        out: folder of the data set; made if needed.
        cases: scans with labels, in `imagesTr/` and `labelsTr/`.
        seed: whole number from 0; scan i of seed s is the same scan in every data set of that seed.
        unlabelled: scans without labels, in `imagesTs/`.
        jobs: processes; one per core by default.
        overwrite: write again what is there already; scans of another seed are removed first.
        max_voxels: upper bound of one image's size; finer scans get thicker slices or coarser voxels.
        progress: show a bar on standard error, and say at the end what there is.

    Returns:
        The folder.

    Raises:
        UserError: a count is not a whole number from 0, or the folder holds another seed's or version's phantom, or something else.
    """
    for name, value in (("cases", cases), ("seed", seed), ("unlabelled", unlabelled)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UserError(f"--{name}", f"{value!r} is not a whole number from 0", f"for example --{name} 20")
    if not LEAST_VOXELS <= max_voxels:
        raise UserError("--max_voxels", f"{max_voxels!r} is less than {LEAST_VOXELS:g}", "for example --max_voxels 1e6")
    folder, max_voxels = Path(out), float(max_voxels)
    own = {"seed": seed, "version": VERSION, "max_voxels": max_voxels}
    claim(folder, "phantom", own, parts=PARTS, overwrite=overwrite, scans=SCANS)
    _describe(folder, cases, unlabelled, own)
    wanted = [(i, True) for i in range(cases)] + [(i, False) for i in range(unlabelled)]
    todo = [case for case in wanted if overwrite or not all(path.exists() for path in _paths(folder, *case))]
    run_parallel(partial(_write_case, folder, seed, max_voxels), todo, jobs=jobs, title="phantom", progress=progress)
    if progress:
        print(f"{counted(cases, 'scan')} with labels and {unlabelled} without in {folder}")
    return folder


def _paths(folder: Path, index: int, labelled: bool) -> list[Path]:
    """Files of one case, the label map first: where an image exists its labels do."""
    if labelled:
        name = f"abdomen_{index:03d}.nii.gz"
        return [folder / "labelsTr" / name, folder / "imagesTr" / name]
    return [folder / "imagesTs" / f"unlabelled_{index:03d}.nii.gz"]


def _write_case(folder: Path, seed: int, max_voxels: float, case: tuple[int, bool]) -> None:
    from bundle.data.synthetic.patient import make_patient
    from bundle.images.writing import write_nifti

    index, labelled = case
    image, labels, affine = make_patient([seed, int(labelled), index], max_voxels=max_voxels)
    for path, array in zip(_paths(folder, index, labelled), (labels, image) if labelled else (image,), strict=True):
        write_nifti(path, array, affine)


def _describe(folder: Path, cases: int, unlabelled: int, own: dict) -> None:
    """Write `dataset.json`, before any scan: the folder is known as ours by it."""
    names = [_paths(folder, i, True)[1].name for i in range(cases)]
    content = {
        "name": "synthetic abdomen",
        "description": "Made-up abdominal CT with labels, by `python -m bundle phantom`. No patient data.",
        "licence": "Apache-2.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": LABELS,
        "numTraining": cases,
        "numTest": unlabelled,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [f"./imagesTs/{_paths(folder, i, False)[0].name}" for i in range(unlabelled)],
        "phantom": own,
    }
    write_json(folder / "dataset.json", content)
    for name in PARTS:
        (folder / name).mkdir(parents=True, exist_ok=True)


def run_parallel(
    work: Callable, todo: list, *, jobs: int | None = None, title: str = "", progress: bool = True, after: Callable | None = None
) -> None:
    """Call `work` on every item, in `jobs` processes (one per core by default), with a bar; the first error ends it.

    `after` is called in this process, without arguments, each time an item is done.

    Raises:
        UserError: less than one process.
    """
    from tqdm import tqdm

    jobs = cpu_limit() if jobs is None else jobs
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise UserError("--jobs", f"{jobs!r} is not a whole number from 1", "for example --jobs 2")
    calls = [(case,) for case in todo]
    with (
        tqdm(total=len(todo), desc=title, unit="scan", disable=not progress or not todo) as bar,
        closing(in_processes(work, calls, jobs, keep_memory)) as results,
    ):
        for _ in results:
            bar.update()
            if after:
                after()
