"""Where synthesised scans come from: label maps, whole bodies and real CT, found in their folders and split into sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bundle.data.listed_files import stem
from bundle.data.listing import nifti_files
from bundle.data.synthetic.phantom import LABELS
from bundle.errors import UserError, counted
from bundle.json_input import read_object

SPACING = (2.0, 2.0, 2.0)
# begins the names of whole bodies
PERSON = "person_"


@dataclass(frozen=True)
class Sources:
    """Where anatomies come from; paths may be None: then the procedural anatomy alone is used.

    Attributes:
        donors: folder of prepared donors (`.npz`).
        training, validation: names of the donors of each section.
        real: folders of real CT.
        people, people_held_out: names of the whole bodies of each section, prepared in the folder of the donors.
        spacing: edge of a voxel in mm.
        whole: share of the whole bodies that are scanned in all their length.
    """

    donors: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    real: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    people_held_out: tuple[str, ...] = ()
    spacing: float = SPACING[0]
    whole: float = 0.0


def label_maps(maps: str | None) -> dict[str, Path]:
    """The label maps of a folder by the name of their donor."""
    if maps is None:
        return {}
    files = nifti_files(Path(maps))
    if len(files) < 2:
        fix = "give a folder with two or more .nii.gz label maps, or leave --maps away"
        raise UserError(maps, f"holds {counted(len(files), 'label map')}", fix)
    found: dict[str, Path] = {}
    for path in files:
        first = found.setdefault(stem(path), path)
        if first is not path:
            raise UserError(path, f"{first.name} is a map of the same name", "keep one of the two files")
    return found


def whole_bodies(people: str | None) -> dict[str, Path]:
    """The label maps of whole bodies by the name of their person."""
    if people is None:
        return {}
    files = sorted(Path(people).glob("*/structures.nii.gz"))
    if not files:
        raise UserError(people, "holds no NAME/structures.nii.gz", "give a folder of whole bodies, or leave --people away")
    return {f"{PERSON}{path.parent.name}": path for path in files}


def sources_of(folder: Path, files: Mapping[str, Path], real: str | None) -> Sources:
    """Donors and people, split into training and validation by the order of their names, and the real CT."""
    names, bodies = ([name for name in files if name.startswith(PERSON) == whole] for whole in (False, True))
    kept_out, held = tuple(names[3::6] or names[-1:]), tuple(bodies[2::3])
    training, seen = tuple(name for name in names if name not in kept_out), tuple(name for name in bodies if name not in held)
    return Sources(str(folder / "donors"), training, kept_out, _real_scans(real), seen, held)


def _real_scans(real: str | None) -> tuple[str, ...]:
    """The folder itself where it holds a CT, else the folders in it that do."""
    if real is None:
        return ()
    found = sorted(path.parent for path in [*Path(real).glob("ct.nii.gz"), *Path(real).glob("*/ct.nii.gz")])
    if Path(real) in found:
        found = [Path(real)]
    if not found:
        raise UserError(real, "holds no ct.nii.gz and no folders with one", "give the folder of a real CT, or leave --real away")
    for folder in found:
        if not (folder / "labels.nii.gz").is_file():
            raise UserError(folder, "has a ct.nii.gz and no labels.nii.gz", "give it labels (1 pancreas, 2 spleen, 3 kidneys), or move it")
    return tuple(str(folder.resolve()) for folder in found)


def further_labels(real: tuple[str, ...]) -> dict[str, str]:
    """Value to name of the labels that real CT have beyond the three organs."""
    found: dict[str, str] = {}
    for folder in real:
        path = Path(folder) / "labels.json"
        names = read_object(path, '{"unsure": 255}: name of a label to its value') if path.is_file() else {}
        found |= {str(value): name for name, value in names.items() if str(value) not in LABELS}
    return found
