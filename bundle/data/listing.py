"""Reading a data set's own list of cases: MSD folders, MSD `dataset.json`, MONAI datalist JSON."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from bundle.data.datalist import ENDINGS, Case, Listing
from bundle.errors import UserError

TEST_KEYS = ("test", "testing")


def stem(path: str | Path) -> str:
    """File name without its ending: `a.1.NII.GZ` gives `a.1`; other endings lose their last suffix."""
    name = Path(path).name
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files directly in `folder`, `.nii` and `.nii.gz` in any case, without hidden ones (macOS' `._` files), sorted."""
    if not folder.is_dir():
        return []
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.name.lower().endswith(ENDINGS) and path.is_file())


def from_folders(folder: Path) -> Listing:
    """Cases of a folder in MSD layout: an image in `imagesTr` goes with the label of the same name in `labelsTr`.

    nnU-Net's channel suffix is understood: image `a_0000.nii.gz` goes with label `a.nii.gz`. Labels in `labelsTs` make the
    cases of `imagesTs` the test section.
    """
    listing = Listing(str(folder), value_names=_value_names(folder / "dataset.json"))
    for images, labels, section in (("imagesTr", "labelsTr", None), ("imagesTs", "labelsTs", "test")):
        _pair(listing, folder / images, folder / labels, section)
    if not listing.labelled and not listing.problems:
        there = "the folder is empty" if not any(folder.iterdir()) else "there is no .nii or .nii.gz file in imagesTr and labelsTr"
        fix = "put images in imagesTr and labels of the same names in labelsTr, or give a datalist JSON (--datalist)"
        listing.problems.append(UserError(folder, there, fix))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def from_json(path: Path, base: Path | None = None) -> Listing:
    """Cases of a MONAI datalist JSON or an MSD `dataset.json`, where paths start at `base` or at the JSON's own folder."""
    content = _read(path)
    listing = Listing(str(path), value_names=_value_names(path))
    bases = [folder for folder in (base, path.parent) if folder is not None]
    entries = [(entry, None) for entry in content.get("training", [])]
    entries += [(entry, "validation") for entry in content.get("validation", [])]
    entries += [(entry, "test") for key in TEST_KEYS for entry in content.get(key, [])]
    found = [(_files(listing, entry, bases), entry, section) for entry, section in entries]
    names = iter(_names([(files[0], entry) for files, entry, _ in found if files]))
    for files, entry, section in found:
        if files:
            if section != "test" and files[1] is None:
                fix = 'add its "label", or list it under "test"'
                listing.problems.append(UserError(files[0], f"this image has no label in {path}", fix))
            keys = entry if isinstance(entry, dict) else {}
            group = str(keys["group"]) if keys.get("group") is not None else None
            listing.cases.append(Case(next(names), *files, section if files[1] else None, keys.get("fold"), group))
    for name, number in Counter(case.name for case in listing.cases).items():
        if number > 1:
            listing.problems.append(UserError(path, f"the case {name} is listed {number} times", "list each case once"))
    if not listing.cases and not listing.problems:
        listing.problems.append(UserError(path, "it lists no case", 'give it a "training" list of {"image": ..., "label": ...}'))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def has_list(path: Path) -> bool:
    """Whether a `dataset.json` lists its cases (MSD's does, nnU-Net's does not): any that has a label, in whatever section."""
    content = _read(path)
    tests = [entry for key in TEST_KEYS for entry in content.get(key, []) if isinstance(entry, dict) and entry.get("label")]
    return bool(content.get("training") or content.get("validation") or tests)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror or error})", "give an existing JSON file") from error
    except ValueError as error:
        raise UserError(path, f"is no valid JSON ({error})", "correct it, or give another file") from error
    if not isinstance(content, dict):
        raise UserError(path, f"holds a {type(content).__name__}, not an object", 'write {"training": [{"image": ..., "label": ...}, ...]}')
    return content


def _value_names(path: Path) -> dict[int, str]:
    """Meaning of the label values as `dataset.json` states it: `{"1": "pancreas"}` (MSD) or `{"pancreas": 1}` (nnU-Net)."""
    if not path.is_file():
        return {}
    labels = _read(path).get("labels", {})
    meaning: dict[int, str] = {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str) and key.lstrip("-").isdigit():
            meaning[int(key)] = value
        else:
            meaning.update((item, key) for item in (value if isinstance(value, list) else [value]) if isinstance(item, int))
    return meaning


def _pair(listing: Listing, images: Path, labels: Path, section: str | None) -> None:
    """Add the cases of one pair of folders; unlabelled images are a problem in `imagesTr` only."""
    label_of = _by_stem(listing, labels)
    used = set()
    for name, image in _by_stem(listing, images).items():
        key = name if name in label_of else name.removesuffix("_0000")
        if key in label_of:
            used.add(key)
            listing.cases.append(Case(key, str(image), str(label_of[key]), section))
            continue
        listing.cases.append(Case(name, str(image)))
        if section is None:
            fix = f"add the label as {labels / image.name}, or move the image to imagesTs"
            listing.problems.append(UserError(image, f"this image has no label in {labels}", fix))
    for name in sorted(set(label_of) - used):
        fix = f"add the image as {images / label_of[name].name}, or take the label away"
        listing.problems.append(UserError(label_of[name], f"this label has no image in {images}", fix))


def _by_stem(listing: Listing, folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in nifti_files(folder.absolute()):
        if stem(path) in files:
            listing.problems.append(UserError(path, f"{files[stem(path)].name} is the same case", "keep one of the two files"))
        files.setdefault(stem(path), path)
    return files


def _files(listing: Listing, entry: object, bases: list[Path]) -> tuple[str, str | None] | None:
    """Image and label of one entry as absolute paths; None (and a problem noted) where a file is missing."""
    paths = {"image": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else {}
    if not isinstance(paths.get("image"), str) or not isinstance(paths.get("label", ""), str):
        fix = 'write {"image": "path", "label": "path"}; several images a case are not supported'
        listing.problems.append(UserError(listing.source, f"the entry {json.dumps(entry)[:200]} names no image file", fix))
        return None
    if Path(paths["image"]).name.startswith("._"):  # macOS' resource forks, listed by some copies of MSD
        return None
    found = {key: _find(paths[key], bases) for key in ("image", "label") if paths.get(key)}
    for key, path in found.items():
        if path is None:
            fix = f"put the file there, correct the entry in {listing.source}, or take the entry away"
            listing.problems.append(UserError(paths[key], f"{listing.source} lists this {key}, but there is no such file", fix))
    if None in found.values():
        return None
    return found["image"], found.get("label")


def _find(path: str, bases: list[Path]) -> str | None:
    """The file that `path` names, also where it was packed or unpacked since (`.nii` for `.nii.gz` and the other way)."""
    for base in bases:
        wanted = Path(os.path.normpath(base.absolute() / path))
        if wanted.exists():
            return str(wanted)
        folder = wanted.parent
        if wanted.name.lower().endswith(ENDINGS):
            for other in sorted(folder.glob("*")) if folder.is_dir() and not wanted.exists() else ():
                if other.name.lower().endswith(ENDINGS) and stem(other) == stem(wanted):
                    return str(other)
    return None


def _names(images: list[tuple[str, object]]) -> list[str]:
    """A name a case: the entry's own `case`, else the file's stem, with as many parent folders as it takes to be unique."""
    own = [entry.get("case") if isinstance(entry, dict) else None for _, entry in images]
    names = [stem(image) for image, _ in images]
    for depth in range(1, 5):
        double = {name for name, number in Counter(names).items() if number > 1}
        if not double:
            break
        for index, (image, _) in enumerate(images):
            if names[index] in double and depth < len(Path(image).parts) - 1:
                names[index] = "_".join([*Path(image).parts[-1 - depth : -1], stem(image)])
    return [given or name for given, name in zip(own, names, strict=True)]
