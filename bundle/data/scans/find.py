"""Finding scans: in a folder (searched recursively), one file, or DICOM series; and a name for each that no other has."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.channels import Block, Channel, channels_of
from bundle.data.archives import is_archive, unpacked
from bundle.data.scans.case_names import Place, digest, names_apart
from bundle.data.scans.channel_files import Joined, join_channels, pet_series, series_of_study, with_channels_beside
from bundle.data.scans.header_start import read_start
from bundle.data.scans.left_alone import LeftAlone, dicom_kind, label_folder, lines, not_read, recorded_results, sort_out
from bundle.data.scans.scan import LABEL_MAP, FoundScans, Scan, Search, place_of, problem_of
from bundle.data.scans.walk import Here, Problem, file_problem, walk
from bundle.errors import UserError
from bundle.files import named
from bundle.images.names import DICOM_ENDINGS, PAIR_ENDINGS, VOLUME_ENDINGS, ending, stem, voxels_of_pair

# files that are never opened to see whether they are DICOM without saying so
OTHER_ENDINGS = frozenset(
    ".txt .json .csv .tsv .xml .pdf .png .jpg .jpeg .gif .bmp .html .htm .md .py .ipynb .yaml .yml .xlsx .xls .docx .log .zraw "
    ".npz .npy .pkl .pt .pth .mat .h5 .hdf5 .stl .obj .vtp .exe .dll .inf .ini .url .lnk .js .css .mrml .gz .bz2 .b2nd".split()
)
# raw numbers as a rule, and DICOM on some CDs
RAW_ENDINGS = frozenset((".img", ".bin", ".raw"))


def scans_now(
    dataset_dir: str | os.PathLike, leave_out: str | os.PathLike | None = None, watch: bool = False, channels: Block = None
) -> FoundScans:
    """The scans that a run begins with: `find_scans`, or none where it watches the folder, as then each is taken when it is complete.

    Raises:
        UserError: as `find_scans`.
    """
    return FoundScans() if watch else find_scans(dataset_dir, leave_out, channels)


def find_scans(dataset_dir: str | os.PathLike, leave_out: str | os.PathLike | None = None, channels: Block = None) -> FoundScans:
    """Every scan below a folder as `[{"image": path or slices, "case": name, "source": path}, ...]`.

    What cannot be read has `problem` and `fix` as well, and a series `doubt` in whose folder a file cannot be read. Hidden files and what
    is not a scan (`left_alone`) are left alone; a file that is given by its own path is taken whatever it is called.
    A case is named after the folders below `dataset_dir` and its file (`patA/CT/scan.nii.gz`: `patA_CT_scan`), a DICOM series after
    its folder.

    Args:
        dataset_dir: folder (searched recursively), one volume file, a folder of DICOM slices, or a zip file of any of these.
        leave_out: a folder below it that is not searched, such as the one that results go to.
        channels: the `channels` block. Of several, an entry has the further ones that are there in `channels`, name to path or slices
            (`channel_files`); they are then no scans of their own.

    Raises:
        UserError: nothing is there, or no scan is in it.
    """
    path, wanted = named(dataset_dir), channels_of(channels)
    if is_archive(path):
        return _in_archive(path, channels)
    if not path.is_dir():
        return FoundScans(_with_names([with_channels_beside(_one_file(path), path, wanted)]))
    search = Search(path)
    for here in walk(path, named(leave_out).resolve() if leave_out else None):
        if here.folder == path and here.problems[:1] and here.problems[0][0] == path:
            raise UserError(path, here.problems[0][1].words, here.problems[0][1].fix)
        _look(search, here)
    _dicom(search, wanted)
    if len(wanted) > 1:
        join_channels(search, wanted)
    left = lines(search.left, path)
    if not search.scans:
        raise UserError(path, _nothing(left, search.others), _what_scans_are(left))
    return FoundScans(_with_names(search.scans), left)


def _in_archive(path: Path, channels: Block) -> FoundScans:
    """The scans in a zip file, which are read from a temporary folder; their sources are places in the file, the same in every run."""
    folder = unpacked(path)
    try:
        found = find_scans(folder, channels=channels)
    except UserError as error:
        raise UserError(path, error.problem, error.fix) from error
    for item in found:
        item["source"] = str(path / Path(item["source"]).relative_to(folder))
    return found


def listed_scans(labelled: Sequence[Mapping[str, Any]], dataset_dir: str | os.PathLike | None = None) -> list[dict[str, Any]]:
    """Entries like those of `find_scans` from a data list of `{"image": path, "label": path}`; named after the labels.

    A label map that is written for such an entry has the name by which it is found again for its reference: folders below
    `dataset_dir` count, apart from those that are called after labels (`labelsTr/a.nii.gz`: `a`; `case_1/label.nii.gz`: `case_1_label`).
    `labelled`, the structures that a partly labelled case has, is kept.

    Raises:
        UserError: the list is empty.
    """
    if not labelled:
        raise UserError("section", "no labelled case is in it", "choose another section or fold")
    root = named(dataset_dir).absolute() if dataset_dir else None
    scans: list[Scan] = []
    labels: dict[int, dict[str, Any]] = {}
    for entry in labelled:
        image, label = entry["image"], Path(entry["label"])
        parts = label.absolute().relative_to(root).parts[:-1] if root is not None and label.absolute().is_relative_to(root) else ()
        parts = tuple(part for part in parts if not label_folder(Path(part), Path()))
        own = stem(label)
        own = next((own.removesuffix(suffix) for suffix in ("_seg", ".seg") if own.endswith(suffix)), own)
        others = dict(entry.get("channels", {}))
        problems = [found for file in (image, *others.values()) if (found := problem_of(Path(file)))]
        scan = Scan(place_of((*parts, own), label), image, (image,), next(iter(problems), None), tuple(others.items()))
        scans.append(scan)
        partly = {"labelled": list(entry["labelled"])} if "labelled" in entry else {}
        labels[id(scan)] = {"label_path": str(label), **partly}
    return [{**item, **labels[id(scan)]} for scan, item in _named(scans)]


def reference_labels(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The references of these entries by the name of the case, which is the name of its label map, whatever the file is called."""
    return {item["case"]: str(item["label_path"]) for item in items}


def labelled_structures(items: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The structures that the references of partly labelled cases have, by the name of the case; other cases are not in it."""
    return {item["case"]: list(item["labelled"]) for item in items if "labelled" in item}


def _with_names(scans: Sequence[Scan]) -> list[dict[str, Any]]:
    return [item for _, item in _named(scans)]


def _named(scans: Sequence[Scan]) -> list[tuple[Scan, dict[str, Any]]]:
    """The scans in the order of their sources, each with its entry."""
    ordered = sorted(scans, key=lambda scan: (scan.source, scan.files))
    names = names_apart([scan.place for scan in ordered])
    return [(scan, scan.item(name)) for scan, name in zip(ordered, names, strict=True)]


def _one_file(path: Path) -> Scan:
    """The scan that was asked for by its own path: whatever its name is, only what cannot be a scan is refused."""
    if not os.path.lexists(path):
        raise UserError(path, "there is no such file or folder", "give --dataset_dir a folder of scans, one scan, or a DICOM folder")
    problem = file_problem(path)
    if not ending(path):
        if problem is not None:
            raise UserError(path, problem.words, problem.fix)
        if not _is_dicom(path):
            raise UserError(path, "this is not a scan", f"scans end in {', '.join((*VOLUME_ENDINGS, *DICOM_ENDINGS))}")
    if problem is None and read_start(path).labels:
        raise UserError(path, LABEL_MAP.words, LABEL_MAP.fix)
    return Scan(place_of((stem(path),), path), str(path), (str(path),), problem)


def _look(search: Search, here: Here) -> None:
    """Sort what is in one folder: scans, DICOM files for later, what is left alone, and what cannot be read."""
    search.recorded |= recorded_results(here.folder)
    in_labels = label_folder(here.folder, search.root)
    volumes = []
    for path in here.files:
        found, unread = ending(path), not_read(path)
        if unread:
            search.left.append(LeftAlone(unread, str(path)))
        elif found in VOLUME_ENDINGS:
            # the .hdr of an Analyze or NIfTI pair without its .img is something else (ENVI, for one)
            if found in PAIR_ENDINGS and voxels_of_pair(path) is None:
                search.left.append(LeftAlone(("header without its .img", "headers without their .img"), str(path)))
            else:
                volumes.append(path)
        elif found or _is_dicom(path):
            if in_labels:
                search.left.append(LeftAlone("labels", str(path)))
            else:
                search.slices.append(path)
        else:
            search.others[path.suffix.lower()] += 1
    taken, left = sort_out(volumes, here.folder, search.root, search.recorded)
    search.left += left
    for path in taken:
        search.take(path, file_problem(path))
    for path, problem in here.problems:
        if path == here.folder or (ending(path) and not in_labels):
            search.take(path, problem)
        else:
            search.left.append(LeftAlone("special", str(path)))


def _dicom(search: Search, channels: Sequence[Channel]) -> None:
    """The CT series among the files that were collected; those of one folder that cannot be read for one reason are one scan."""
    if not search.slices:
        return
    from bundle.dicom import find_series, looks_like_dicom

    bad: dict[tuple[str, Problem], list[Path]] = defaultdict(list)
    good = []
    for path in search.slices:
        problem = file_problem(path)
        if problem is None and not looks_like_dicom(path):
            problem = Problem("this is not a DICOM file, in spite of its name")
        if problem is None:
            good.append(path)
        else:
            bad[str(path.parent), problem].append(path)
    found, left = find_series(good)
    pets = pet_series(left, channels)
    used: set[str] = set()
    for one in found:
        if not one.uid and one.problem:
            bad[one.folder, Problem(one.problem, one.fix)] += map(Path, one.files)
    for (_, problem), paths in bad.items():
        more = f"; so it is with {len(paths) - 1} more in this folder" if len(paths) > 1 else ""
        search.take(paths[0], Problem(problem.words + more, problem.fix))
    series = [one for one in found if one.uid or not one.problem]
    unread = _unread_slices(search, {str(path) for path in search.slices})
    shared = Counter(one.folder for one in series)
    for one in series:
        folder = Path(one.folder)
        name = "_".join(folder.relative_to(search.root).parts[-1:]) or folder.resolve().name
        own = f"{name}_{digest([one.uid])}" if shared[one.folder] > 1 else name
        place = Place((*folder.relative_to(search.root).parts[:-1], own), len(VOLUME_ENDINGS), os.path.basename(one.files[0]))
        mine = Joined()
        if pets and not one.problem:
            mine = series_of_study(one.files, pets, next(channel.name for channel in channels[1:] if channel.kind == "pet"))
            used |= {file for files in mine.channels.values() for file in files}
        problem = Problem(one.problem, one.fix) if one.problem else mine.problem
        doubt = "" if problem else _doubt(one.files, unread)
        search.scans.append(Scan(place, one.folder, one.files, problem, tuple(mine.channels.items()), doubt))
    for other in left:
        files = [file for file in other.files if file not in used]
        if files:
            search.left.append(LeftAlone(dicom_kind(other.kind), files[0], len(files)))


def _unread_slices(search: Search, slices: set[str]) -> dict[str, list[str]]:
    """By folder, the DICOM files that cannot be read, by the name of one where several have the same reason."""
    unread: dict[str, list[str]] = defaultdict(list)
    for scan in search.scans:
        if scan.problem and (scan.source in slices or ending(scan.source) in DICOM_ENDINGS):
            unread[os.path.dirname(scan.source)].append(os.path.basename(scan.source))
    return unread


def _doubt(files: Sequence[str], unread: Mapping[str, list[str]]) -> str:
    """What a person is told of a series in whose folder a file cannot be read: nobody knows whether it is a slice of it."""
    names = [name for folder in sorted({os.path.dirname(file) for file in files}) for name in unread.get(folder, [])]
    return f"{names[0]} in its folder cannot be read, it may be one of its slices" if names else ""


def _is_dicom(path: Path) -> bool:
    """Whether a file without an ending of DICOM is DICOM; of raw numbers only where it says so, as they may begin with anything."""
    from bundle.dicom import looks_like_dicom

    suffix = path.suffix.lower()
    return suffix not in OTHER_ENDINGS and looks_like_dicom(path, marked=suffix in RAW_ENDINGS)


def _nothing(left: Sequence[str], others: Mapping[str, int]) -> str:
    counted = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [f"{number} {suffix or 'without an ending'}" for suffix, number in counted[:4]]
    seen = [*left, *([f"other files: {', '.join(named)}{', ...' if len(counted) > 4 else ''}"] if named else [])]
    return f"no scan is in this folder or below it{' (' + '; '.join(seen) + ')' if seen else ''}"


def _what_scans_are(left: Sequence[str]) -> str:
    own = "; a file that was left alone is taken when --dataset_dir is that file" if left else ""
    return f"scans are {', '.join(VOLUME_ENDINGS[:-1])} files or DICOM series{own}"
