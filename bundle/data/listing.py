"""The cases of a folder in MSD layout: images and labels that belong together by name."""

from __future__ import annotations

from pathlib import Path

from bundle.data.datalist import ENDINGS, Case, Listing
from bundle.data.list_file import Mistakes, stem, value_names
from bundle.errors import UserError
from bundle.json_input import read_object

EXAMPLE = '{"labels": {"background": 0, "pancreas": 1}}'


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
    about = folder / "dataset.json"
    mistakes = Mistakes(about)
    listing = Listing(str(folder), value_names=value_names(read_object(about, EXAMPLE) if about.is_file() else {}, mistakes))
    listing.problems += mistakes.errors()
    for images, labels, section in (("imagesTr", "labelsTr", None), ("imagesTs", "labelsTs", "test")):
        _pair(listing, folder / images, folder / labels, section)
    if not listing.labelled and not listing.problems:
        there = "the folder is empty" if not any(folder.iterdir()) else "there is no .nii or .nii.gz file in imagesTr and labelsTr"
        fix = "put images in imagesTr and labels of the same names in labelsTr, or give a datalist JSON (--datalist)"
        listing.problems.append(UserError(folder, there, fix))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def _pair(listing: Listing, images: Path, labels: Path, section: str | None) -> None:
    """Add the cases of one pair of folders; unlabelled images are a problem in `imagesTr` only."""
    label_of, image_of = _by_stem(listing, labels), _by_stem(listing, images)
    used = set()
    unpacked = _folders_like_files(labels)
    for name, image in image_of.items():
        key = name if name in label_of else name.removesuffix("_0000")
        if key in label_of:
            used.add(key)
            listing.cases.append(Case(key, str(image), str(label_of[key]), section))
            continue
        listing.cases.append(Case(name, str(image)))
        folder = unpacked.get(name) or unpacked.get(name.removesuffix("_0000"))
        if folder:
            listing.problems.append(_is_folder(folder, f"the label of {image.name}"))
        elif section is None:
            fix = f"add the label as {labels / image.name}, or move the image to imagesTs"
            listing.problems.append(UserError(image, f"this image has no label in {labels}", fix))
    unpacked = _folders_like_files(images)
    for name in sorted(set(label_of) - used):
        folder = unpacked.get(name) or unpacked.get(f"{name}_0000")
        if folder:
            listing.problems.append(_is_folder(folder, f"the image of {label_of[name].name}"))
            continue
        fix = f"add the image as {images / label_of[name].name}, or take the label away"
        listing.problems.append(UserError(label_of[name], f"this label has no image in {images}", fix))


def _folders_like_files(folder: Path) -> dict[str, Path]:
    """Folders by the name of a NIfTI file, which some programs make where they unpack one, by its stem."""
    found = folder.absolute().iterdir() if folder.is_dir() else ()
    return {stem(path): path for path in found if path.name.lower().endswith(ENDINGS) and path.is_dir()}


def _is_folder(folder: Path, what: str) -> UserError:
    inside = nifti_files(folder)
    fix = f"move {inside[0].name} out of it and remove the folder" if inside else "remove the folder and put the file in its place"
    return UserError(folder, f"this is a folder, not {what}", fix)


def _by_stem(listing: Listing, folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in nifti_files(folder.absolute()):
        if stem(path) in files:
            listing.problems.append(UserError(path, f"{files[stem(path)].name} is the same case", "keep one of the two files"))
        files.setdefault(stem(path), path)
    return files
