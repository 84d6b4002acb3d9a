"""Which files among scans are not scans: label maps, results of this bundle, other modalities. And the words that say so.

Decided by what is on record (run.json), by what headers say, by the layouts of public data sets and tools, and by names; by a name such
as `mask` alone only where the image that it belongs to is in the same folder, so that no scan is lost for its name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from bundle.data.scans.header_start import read_start
from bundle.errors import counted
from bundle.files import spelled
from bundle.images.names import stem
from bundle.results.records import result_files

# kind: one, many
KINDS = {
    "labels": ("label map", "label maps"),
    "results": ("result of an earlier run", "results of an earlier run"),
    "mr": ("MR image", "MR images"),
    "pet": ("PET image", "PET images"),
    "dose": ("dose distribution", "dose distributions"),
    "unread": ("image in a format that is not read", "images in formats that are not read"),
    "archives": ("archive, which is not unpacked", "archives, which are not unpacked"),
    "partial": ("unfinished download", "unfinished downloads"),
    "special": ("pipe, device or broken link", "pipes, devices or broken links"),
}
# of DICOM: kinds of `bundle.dicom` and their plurals; others are counted as files
DICOM_PLURALS = {
    "localizer": "localizers",
    "picture of another plane": "pictures of another plane",
    "copy of a slice": "copies of slices",
    "dose report": "dose reports",
    "structured report": "structured reports",
    "secondary capture": "secondary captures",
    "presentation state": "presentation states",
    "document": "documents",
    "waveform": "waveforms",
    "parametric map": "parametric maps",
    "radiotherapy object": "radiotherapy objects",
    "DICOM object without an image": "DICOM objects without an image",
}
LABEL_WORDS = frozenset(
    "label labels labelmap labelmaps mask masks seg segs segmentation segmentations annotation annotations groundtruth gt "
    "dseg probseg pred preds prediction predictions".split()
)
# in names of folders only
LABEL_FOLDER_WORDS = LABEL_WORDS | {"instances"}
# these say label map only where voxels have 8 bits: a region of interest may be a part of the CT
WEAK_WORDS = frozenset("roi rois contour contours structure structures organ organs lesion lesions tumor tumors tumour tumours".split())
FILLING_WORDS = frozenset("tr ts va tv train training test testing val validation dicom dcm nifti nii nrrd".split())
IMAGE_WORDS = frozenset("image images imaging img imgs volume vol ct cta scan orig original raw".split())
OTHER_WORDS = {"pet": "pet", "pt": "pet", "suv": "pet", "mr": "mr", "mri": "mr", "dose": "dose", "rtdose": "dose"}
# suffixes of BIDS (https://bids-specification.readthedocs.io): what is not a CT says so at its end
BIDS = re.compile(r"sub-[^_]+(?:_[a-z]+-[^_]+)*_(?P<suffix>[A-Za-z0-9]+)", re.IGNORECASE)
BIDS_KINDS = {
    **dict.fromkeys("mask dseg probseg".split(), "labels"),
    **dict.fromkeys("T1w T2w T2star FLAIR PDw PDT2 inplaneT1 inplaneT2 T1map T2map angio bold sbref dwi asl m0scan epi".split(), "mr"),
    "pet": "pet",
}
OWN_RESULT = re.compile(r".*_(probabilities|attention_level\d+)", re.IGNORECASE | re.DOTALL)
UNREAD_ENDINGS = tuple(".mnc .gipl .gipl.gz .par .rec .vtk .vti .nii.xz .dcm.gz".split())
PARTIAL_ENDINGS = (".part", ".partial", ".crdownload", ".download", ".filepart")
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".mrb")


@dataclass(frozen=True)
class LeftAlone:
    """Something that is not a scan: its kind (one of `KINDS`, or words for one and for many), an example, and how many there are."""

    kind: str | tuple[str, str]
    path: str
    count: int = 1


def sort_out(files: Sequence[Path], below: Path, root: Path, recorded: set[Path]) -> tuple[list[Path], list[LeftAlone]]:
    """The files of one folder that may be scans, and those that are not.

    Args:
        files: volume files of the folder.
        below: the folder.
        root: the folder that was asked for; only names of folders below it say something.
        recorded: what run.json files call results.
    """
    in_labels = label_folder(below, root) or predicted_by_nnunet(below)
    names = {path: words_of(stem(path)) for path in files}
    images = {_own(words) for words in names.values() if not words & LABEL_WORDS}
    scans = {_own(words) for words in names.values() if words & {"ct", "cta", "ctres"}}
    kinds: dict[Path, str | None] = {}
    for path in files:
        kind = "results" if path in recorded else "labels" if in_labels else kind_by_name(path, below, root)
        kinds[path] = kind or _kind_beside(names[path], images, scans)
    in_folders = {word for part in below.relative_to(root).parts for word in words_of(part)}
    small_means_labels = bool(in_folders & (LABEL_FOLDER_WORDS | WEAK_WORDS))
    starts = {path: read_start(path) for path in files if kinds[path] is None}
    large = {path: start.grid for path, start in starts.items() if not start.small and start.grid}
    owners: dict[tuple[float, ...], set[frozenset[str]]] = {grid: set() for grid in large.values()}
    for path, grid in large.items():
        owners[grid].add(_own(names[path]))
    for path, start in starts.items():
        called = small_means_labels or names[path] & (LABEL_WORDS | WEAK_WORDS)
        beside = start.grid in owners and (len(large) == 1 or _holds_one(names[path], owners[start.grid]))
        if start.labels or (start.small and (called or beside)):
            kinds[path] = "labels"
    taken = [path for path in files if kinds[path] is None]
    return taken, [LeftAlone(kind, str(path)) for path, kind in kinds.items() if kind is not None]


def label_folder(folder: Path, root: Path) -> bool:
    """Whether a folder below `root` is called after labels: labelsTr, masks, gt_segmentations, TrainMask, MASKS_DICOM."""
    return any(_is_label_name(part) for part in folder.relative_to(root).parts)


def kind_by_name(path: Path, folder: Path, root: Path) -> str | None:
    """The kind of a file whose own name shows that it is not a scan."""
    name = stem(path)
    lower = name.lower()
    if lower.endswith((".seg", ".label", "_seg")):
        return "labels"
    if OWN_RESULT.fullmatch(name):
        return "results"
    match = BIDS.fullmatch(name)
    if match and match["suffix"] in BIDS_KINDS:
        return BIDS_KINDS[match["suffix"]]
    in_folders = {word for part in folder.relative_to(root).parts for word in words_of(part)}
    if LABEL_WORDS & words_of(name) and LABEL_FOLDER_WORDS & in_folders:
        return "labels"
    return None


def not_read(path: Path) -> str | None:
    """The kind of a file that looks like a scan and is in a form that is not read; None for anything else."""
    name = path.name.lower()
    if name.endswith(ARCHIVE_ENDINGS):
        return "archives"
    if name.endswith(PARTIAL_ENDINGS):
        return "partial"
    return "unread" if name.endswith(UNREAD_ENDINGS) else None


def dicom_kind(kind: str) -> tuple[str, str]:
    """Words for one and for many of a kind that `bundle.dicom.find_series` names."""
    if kind in DICOM_PLURALS:
        return kind, DICOM_PLURALS[kind]
    return f"{kind} file", f"{kind} files"


def recorded_results(folder: Path) -> set[Path]:
    """The files that the run.json of a folder calls results of this bundle; none where there is no such record."""
    return {folder / name for name in result_files(folder)}


def predicted_by_nnunet(folder: Path) -> bool:
    """Whether nnU-Net wrote its predictions to a folder, or the validation of a fold, whose summary names every case."""
    if os.path.isfile(folder / "predict_from_raw_data_args.json"):
        return True
    content = _json(folder / "summary.json")
    return isinstance(content, dict) and "metric_per_case" in content


def lines(left: Iterable[LeftAlone], root: Path) -> list[str]:
    """One line for each kind: how many, and an example: `left alone: 117 label maps (segmentations/spleen.nii.gz, ...)`."""
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], str] = {}
    for one in left:
        kind = KINDS[one.kind] if isinstance(one.kind, str) else one.kind
        counts[kind] = counts.get(kind, 0) + one.count
        examples.setdefault(kind, _below(one.path, root))
    text = []
    for kind, count in counts.items():
        more = ", ..." if count > 1 else ""
        text.append(f"left alone: {counted(count, *kind)} ({examples[kind]}{more})")
    return text


def _below(path: str, root: Path) -> str:
    try:
        name = str(Path(path).relative_to(root))
    except ValueError:
        name = path
    # a line stays a line, whatever the name
    return "".join(character if character.isprintable() else "?" for character in spelled(name))


def _is_label_name(name: str) -> bool:
    words = words_of(name) - FILLING_WORDS
    # imagesTs_pred of nnU-Net's documentation
    return bool(words) and (words <= LABEL_FOLDER_WORDS or re.search(r"[\W_](pred|preds|predictions?)$", name.lower()) is not None)


def _kind_beside(words: frozenset[str], images: set[frozenset[str]], scans: set[frozenset[str]]) -> str | None:
    """The kind of a file that calls itself a mask, or another modality, where its image is next to it.

    Args:
        words: of its name.
        images: whose (`_own`) the images in the folder are.
        scans: whose those are that call themselves CT.
    """
    if words & LABEL_WORDS and _holds_one(words - LABEL_WORDS, images):
        return "labels"
    other_modality = words & OTHER_WORDS.keys()
    if other_modality and not words & IMAGE_WORDS and _holds_one(words, scans):
        return OTHER_WORDS[min(other_modality)]
    return None


def _holds_one(words: frozenset[str], others: set[frozenset[str]]) -> bool:
    """Whether one of the others is a part of the words."""
    if len(words) > 10:
        return any(other <= words for other in others)
    # folders may hold many thousands of files: names have few words, so their parts are looked up
    return any(frozenset(part) in others for count in range(len(words) + 1) for part in combinations(words, count))


def _own(words: frozenset[str]) -> frozenset[str]:
    """What of an image's name says whose it is: without words such as `image`, and without nnU-Net's number of a channel."""
    return words - IMAGE_WORDS - {"ctres", "0000"}


def words_of(name: str) -> frozenset[str]:
    """The words of a name in small letters, split at signs, between letters and numbers and before capitals."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    return frozenset(re.split(r"[\W_]+", split.lower())) - {""}


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
