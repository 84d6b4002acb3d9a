"""Finding scans: in a folder (searched recursively), one file, or DICOM series; and a name for each that no other has."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundle.channels import Block, Channel, channels_of
from bundle.data.archives import is_archive, unpacked
from bundle.data.scans.case_names import Place, digest, names_apart
from bundle.data.scans.channel_files import File, Joined, joined, series_of_study
from bundle.data.scans.header_start import read_start
from bundle.data.scans.left_alone import LeftAlone, dicom_kind, kind_by_name, label_folder, lines, not_read, recorded_results, sort_out
from bundle.data.scans.walk import Here, Problem, file_problem, walk
from bundle.errors import UserError
from bundle.files import named
from bundle.images.names import DICOM_ENDINGS, PAIR_ENDINGS, VOLUME_ENDINGS, ending, stem, voxels_of_pair

if TYPE_CHECKING:
    from bundle.dicom import LeftAlone as DicomLeft

# files that are never opened to see whether they are DICOM without saying so
OTHER_ENDINGS = frozenset(
    ".txt .json .csv .tsv .xml .pdf .png .jpg .jpeg .gif .bmp .html .htm .md .py .ipynb .yaml .yml .xlsx .xls .docx .log .zraw "
    ".npz .npy .pkl .pt .pth .mat .h5 .hdf5 .stl .obj .vtp .exe .dll .inf .ini .url .lnk .js .css .mrml .gz .bz2 .b2nd".split()
)
# raw numbers as a rule, and DICOM on some CDs
RAW_ENDINGS = frozenset((".img", ".bin", ".raw"))
LABEL_MAP = Problem("its header says that it is a label map, not a scan", "give the scan that it was made from")


@dataclass(frozen=True)
class Scan:
    """One scan: its place (which makes its name), where it is, and why it cannot be read, if so; files of its further channels."""

    place: Place
    source: str  # the file, or the folder of the series
    files: tuple[str, ...]  # one, or the slices of a DICOM series in order
    problem: Problem | None = None
    further: tuple[tuple[str, File], ...] = ()

    def item(self, name: str) -> dict[str, Any]:
        """The scan as MONAI's dictionary transforms take it: `image` is one path or, for DICOM, the paths of the slices."""
        image = list(self.files) if len(self.files) > 1 else self.files[0]
        why = {"problem": self.problem.words, "fix": self.problem.fix} if self.problem else {}
        others = {channel: file if isinstance(file, str) else list(file) for channel, file in self.further}
        return {"image": image, **({"channels": others} if others else {}), "case": name, "source": self.source, **why}


class FoundScans(list):
    """Entries of scans sorted by source, and in `left_alone` a line for each kind of thing that is not a scan."""

    left_alone: list[str]

    def __init__(self, entries: Iterable[dict[str, Any]] = (), left_alone: Iterable[str] = ()) -> None:
        super().__init__(entries)
        self.left_alone = list(left_alone)


@dataclass
class _Search:
    """What a search through a folder has found so far."""

    root: Path
    scans: list[Scan] = field(default_factory=list)
    left: list[LeftAlone] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    slices: list[Path] = field(default_factory=list)
    recorded: set[Path] = field(default_factory=set)

    def take(self, path: Path, problem: Problem | None = None) -> None:
        """Note a file, or a folder that cannot be read, as one scan."""
        parts = (*path.parent.relative_to(self.root).parts, stem(path)) if path != self.root else (path.resolve().name,)
        self.scans.append(Scan(_place(parts, path), str(path), (str(path),), problem))


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

    What cannot be read has `problem` and `fix` as well. Hidden files and what is not a scan (`left_alone`) are left alone;
    a file that is given by its own path is taken whatever it is called. A case is named after the folders below `dataset_dir` and its
    file (`patA/CT/scan.nii.gz`: `patA_CT_scan`), a DICOM series after its folder.

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
        return FoundScans(_with_names([_beside(_one_file(path), path, wanted)]))
    search = _Search(path)
    for here in walk(path, named(leave_out).resolve() if leave_out else None):
        if here.folder == path and here.problems[:1] and here.problems[0][0] == path:
            raise UserError(path, here.problems[0][1].words, here.problems[0][1].fix)
        _look(search, here)
    _dicom(search, wanted)
    if len(wanted) > 1:
        _join(search, wanted)
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

    Raises:
        UserError: the list is empty.
    """
    if not labelled:
        raise UserError("section", "no labelled case is in it", "choose another section or fold")
    root = named(dataset_dir).absolute() if dataset_dir else None
    scans, labels = [], {}
    for entry in labelled:
        image, label = entry["image"], Path(entry["label"])
        parts = label.absolute().relative_to(root).parts[:-1] if root is not None and label.absolute().is_relative_to(root) else ()
        parts = tuple(part for part in parts if not label_folder(Path(part), Path()))
        own = stem(label)
        own = next((own.removesuffix(suffix) for suffix in ("_seg", ".seg") if own.endswith(suffix)), own)
        others = dict(entry.get("channels", {}))
        problems = [found for file in (image, *others.values()) if (found := _problem(Path(file)))]
        scan = Scan(_place((*parts, own), label), image, (image,), next(iter(problems), None), tuple(others.items()))
        scans.append(scan)
        labels[id(scan)] = str(label)
    return [{**item, "label_path": labels[id(scan)]} for scan, item in _named(scans)]


def reference_labels(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The references of these entries by the name of the case, which is the name of its label map, whatever the file is called."""
    return {item["case"]: str(item["label_path"]) for item in items}


def _with_names(scans: Sequence[Scan]) -> list[dict[str, Any]]:
    return [item for _, item in _named(scans)]


def _named(scans: Sequence[Scan]) -> list[tuple[Scan, dict[str, Any]]]:
    """The scans in the order of their sources, each with its entry."""
    ordered = sorted(scans, key=lambda scan: (scan.source, scan.files))
    names = names_apart([scan.place for scan in ordered])
    return [(scan, scan.item(name)) for scan, name in zip(ordered, names, strict=True)]


def _place(parts: Sequence[str], path: Path) -> Place:
    """The place of a file: of several with one name that of the first ending keeps it, DICOM and folders come last."""
    found = ending(path)
    return Place(tuple(parts), VOLUME_ENDINGS.index(found) if found in VOLUME_ENDINGS else len(VOLUME_ENDINGS), path.name)


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
    return Scan(_place((stem(path),), path), str(path), (str(path),), problem)


def _problem(path: Path) -> Problem | None:
    problem = None if path.is_dir() else file_problem(path)
    return problem or (LABEL_MAP if read_start(path).labels else None)


def _look(search: _Search, here: Here) -> None:
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


def _join(search: _Search, channels: Sequence[Channel]) -> None:
    """Give the volume files that are further channels to the scans that they belong to."""
    kinds = {channel.kind for channel in channels[1:]}
    volumes = {Path(scan.source): scan for scan in search.scans if len(scan.files) == 1 and ending(scan.source) in VOLUME_ENDINGS}
    beside = {Path(one.path): one for one in search.left if one.kind in kinds and ending(one.path) in VOLUME_ENDINGS}
    found, alone = joined([*volumes, *beside], search.root, channels)
    used = {path for one in found.values() for path in one.channels.values()} | set(map(str, alone))
    search.scans = [scan for scan in search.scans if Path(scan.source) not in volumes or scan.source not in used]
    search.scans = [_with_channels(scan, found.get(Path(scan.source)), search.root) for scan in search.scans]
    search.left = [one for one in search.left if one not in beside.values() or one.path not in used]
    words = ("image of a further channel without its CT", "images of further channels without their CT")
    search.left += [LeftAlone("pet" if path in beside and beside[path].kind == "pet" else words, str(path)) for path in alone]


def _with_channels(scan: Scan, mine: Joined | None, root: Path) -> Scan:
    if mine is None:
        return scan
    place = scan.place
    if place.parts[-1].endswith("_0000"):  # the case, and not its first channel, gives the name
        place = place._replace(parts=(*place.parts[:-1], place.parts[-1].removesuffix("_0000")))
    return replace(scan, place=place, problem=scan.problem or mine.problem, further=(*scan.further, *mine.channels.items()))


def _beside(scan: Scan, path: Path, channels: Sequence[Channel]) -> Scan:
    """A file that was asked for by its own path, with the channels that are in its folder."""
    if len(channels) == 1 or scan.problem or ending(path) not in VOLUME_ENDINGS:
        return scan
    near = [other for other in path.parent.iterdir() if ending(other) in VOLUME_ENDINGS and not file_problem(other)]
    near = [other for other in near if other == path or not (kind_by_name(other, path.parent, path.parent) == "labels" or _problem(other))]
    return _with_channels(scan, joined(near, path.parent, channels)[0].get(path), path.parent)


def _pet_series(search: _Search, left: Sequence[DicomLeft], channels: Sequence[Channel]) -> list[list[str]]:
    """The PET series among what was left alone, where a channel is one; what cannot be read stays left alone."""
    from bundle.dicom import find_series

    if not any(channel.kind == "pet" for channel in channels[1:]):
        return []
    found, _ = find_series([file for one in left if one.kind == "PET" for file in one.files], pet=True)
    return [list(one.files) for one in found if not one.problem]


def _dicom(search: _Search, channels: Sequence[Channel]) -> None:
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
    pets = _pet_series(search, left, channels)
    used: set[str] = set()
    for one in found:
        if not one.uid and one.problem:
            bad[one.folder, Problem(one.problem, one.fix)] += map(Path, one.files)
    for (_, problem), paths in bad.items():
        more = f"; so it is with {len(paths) - 1} more in this folder" if len(paths) > 1 else ""
        search.take(paths[0], Problem(problem.words + more, problem.fix))
    series = [one for one in found if one.uid or not one.problem]
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
        search.scans.append(Scan(place, one.folder, one.files, problem, tuple(mine.channels.items())))
    for other in left:
        files = [file for file in other.files if file not in used]
        if files:
            search.left.append(LeftAlone(dicom_kind(other.kind), files[0], len(files)))


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
