"""Finding scans: in a folder (searched recursively), one file, or DICOM series; and a name for each that no other has."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.errors import UserError

# endings of volume files, longest first so that ".nii.gz" wins over ".gz"
VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
# label folders of the MSD layout: not scans
LABEL_FOLDERS = ("labelsTr", "labelsVa", "labelsTs")


@dataclass(frozen=True)
class Scan:
    """One scan: its name, where it lies (a file, or the slices of a DICOM series in order), and why it cannot be read, if so."""

    name: str
    source: str  # the file, or the folder of the series
    files: tuple[str, ...]
    problem: str | None = None

    def item(self) -> dict[str, object]:
        """The scan as MONAI's dictionary transforms take it: `image` is one path or, for DICOM, the paths of the slices."""
        image = list(self.files) if len(self.files) > 1 else self.files[0]
        return {"image": image, "case": self.name, "source": self.source, "problem": self.problem}


def find_scans(dataset_dir: str | os.PathLike, leave_out: str | os.PathLike | None = None) -> list[dict[str, object]]:
    """Every scan below a folder as `[{"image": path or slices, "case": name, "source": path, "problem": str or None}, ...]`.

    Hidden files and folders are left alone, and so are the label folders of the MSD layout and files of other kinds.

    Args:
        dataset_dir: folder (searched recursively), one volume file, or a folder of DICOM slices.
        leave_out: a folder below it that is not searched, such as the one that results go to.

    Raises:
        UserError: nothing is there, or no scan is in it.
    """
    path = Path(dataset_dir).expanduser()
    if not path.exists():
        raise UserError(path, "there is no such file or folder", "give --dataset_dir a folder of scans, one scan, or a DICOM folder")
    if path.is_file():
        scans = [_one_file(path)]
        root = path.parent
    else:
        scans, root = list(_below(path, Path(leave_out).expanduser().resolve() if leave_out else None)), path
    if not scans:
        endings = ", ".join(VOLUME_ENDINGS[:-1])
        raise UserError(path, "no scan is in this folder or below it", f"scans are {endings} files or DICOM series")
    return [scan.item() for scan in name_apart(scans, root)]


def listed_scans(labelled: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Entries like those of `find_scans` from a data list of `{"image": path, "label": path}`; named after the labels.

    A label map that is written for such an entry has the name by which it is found again beside its reference.

    Raises:
        UserError: the list is empty.
    """
    if not labelled:
        raise UserError("section", "no labelled case is in it", "choose another section or fold")
    by_image = {entry["image"]: entry["label"] for entry in labelled}
    scans = [Scan(_stem(Path(label)), image, (image,), problem=_unreadable(Path(image))) for image, label in by_image.items()]
    return [{**scan.item(), "label_path": by_image[scan.source]} for scan in name_apart(scans, Path(os.sep))]


def written_labels(items: Sequence[Mapping[str, Any]], output_dir: str | os.PathLike) -> list[str]:
    """The label maps that inference wrote for these entries; those of failed cases are missing.

    Raises:
        UserError: there are none.
    """
    paths = [Path(output_dir) / f"{item['case']}_seg.nii.gz" for item in items]
    found = [str(path) for path in paths if path.is_file()]
    if not found:
        raise UserError(output_dir, "no case could be segmented, so there is nothing to score", "see run.json there for the reasons")
    return found


def reference_labels(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The references of these entries."""
    return [str(item["label_path"]) for item in items]


def ending(path: str | os.PathLike) -> str:
    """The volume or DICOM ending of a file name, in lower case; empty where it has none of them."""
    name = os.path.basename(path).lower()
    return next((e for e in (*VOLUME_ENDINGS, *DICOM_ENDINGS) if name.endswith(e)), "")


def name_apart(scans: Iterable[Scan], root: Path) -> list[Scan]:
    """The scans sorted by source, with names that no two share: the stem, then with folders before it, with the ending behind it.

    Names are compared without case, so that files do not collide on file systems that ignore it.
    """
    ordered = sorted(scans, key=lambda scan: (scan.source, scan.name))
    names = {index: _clean(scan.name) for index, scan in enumerate(ordered)}
    for longer in (_with_folders, _with_ending):
        for index in _shared(names):
            names[index] = _clean(longer(ordered[index], root))
    taken: set[str] = set()
    for index in range(len(ordered)):
        name, count = names[index], 2
        while names[index].lower() in taken:
            names[index], count = f"{name}_{count}", count + 1
        taken.add(names[index].lower())
    return [replace(scan, name=names[index]) for index, scan in enumerate(ordered)]


def _shared(names: dict[int, str]) -> list[int]:
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, name in names.items():
        by_name[name.lower()].append(index)
    return [index for same in by_name.values() if len(same) > 1 for index in same]


def _clean(name: str) -> str:
    """A name that is a good file name on every system and no hidden file."""
    kept = "".join(c if c.isalnum() or c in "-_.+" else "_" for c in name).strip(".")
    return kept or "scan"


def _stem(path: Path) -> str:
    found = ending(path)
    return path.name[: len(path.name) - len(found)] if found else path.name


def _with_folders(scan: Scan, root: Path) -> str:
    source = Path(scan.source)
    parents = source.parent.relative_to(root).parts if source != root else ()
    return "_".join((*parents, scan.name))


def _with_ending(scan: Scan, root: Path) -> str:
    return _with_folders(scan, root) + ending(scan.source).replace(".", "_")


def _one_file(path: Path) -> Scan:
    found = ending(path)
    if not found and not looks_like_dicom(path):
        raise UserError(path, "this is no scan", f"scans end in {', '.join((*VOLUME_ENDINGS, *DICOM_ENDINGS))}")
    return Scan(_stem(path), str(path), (str(path),), problem=_unreadable(path))


def _below(folder: Path, leave_out: Path | None) -> Iterator[Scan]:
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen or (leave_out is not None and Path(real) == leave_out):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")) and f not in LABEL_FOLDERS)
        visible = [Path(here, name) for name in sorted(files) if not name.startswith(".")]
        slices = []
        for path in visible:
            found = ending(path)
            if found in VOLUME_ENDINGS:
                # the .hdr of an Analyze or NIfTI pair without its .img is something else (ENVI, for one)
                if found != ".hdr" or path.with_suffix(".img").exists():
                    yield Scan(_stem(path), str(path), (str(path),), problem=_unreadable(path))
            elif found or ((not path.suffix or path.suffix[1:].isdigit()) and looks_like_dicom(path)):
                slices.append(path)
        if slices:
            yield from _series(Path(here), slices)


def _series(folder: Path, slices: list[Path]) -> Iterator[Scan]:
    """The DICOM series in one folder; files named as DICOM that are none are scans with a problem."""
    from bundle.data.dicom import series_in

    good = [path for path in slices if looks_like_dicom(path)]
    for path in sorted(set(slices) - set(good)):
        yield Scan(_stem(path), str(path), (str(path),), problem=_unreadable(path) or "this is no DICOM file, in spite of its name")
    found = series_in(folder, good)
    for number, files in enumerate(found, start=1):
        name = folder.resolve().name if len(found) == 1 else f"{folder.resolve().name}_series{number}"
        yield Scan(name, str(folder), tuple(files))


def _unreadable(path: Path) -> str | None:
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        with open(path, "rb"):
            return None
    except OSError as error:
        return f"the file cannot be opened ({error.strerror})"


def looks_like_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM does: the letters DICM after a preamble, or, without one, an element of group 2 or 8."""
    try:
        with open(path, "rb") as file:
            head = file.read(132)
    except OSError:
        return False
    if head[128:132] == b"DICM":
        return True
    # explicit value representation: two capital letters; implicit: a length that is small for these first elements
    element = head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00"
    return len(head) == 132 and element and ((head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\x00\x00")
