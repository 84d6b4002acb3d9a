"""The cases of a folder in MSD layout: images and labels that belong together by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundle.channels import CT, Channel
from bundle.data.datalist import ENDINGS, Case, Listing
from bundle.data.list_file import Mistakes, value_names
from bundle.data.listed_channels import check_modalities
from bundle.data.listed_files import stem
from bundle.errors import UserError
from bundle.json_input import read_object

EXAMPLE = '{"labels": {"background": 0, "pancreas": 1}}'


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files directly in `folder`, `.nii` and `.nii.gz` in any case, without hidden ones (macOS' `._` files), sorted."""
    if not folder.is_dir():
        return []
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in visible if path.name.lower().endswith(ENDINGS) and path.is_file()), key=_name)


def _name(path: Path) -> str:
    return path.name


def from_folders(folder: Path, channels: Sequence[Channel] = (CT,)) -> Listing:
    """Cases of a folder in MSD layout: an image in `imagesTr` goes with the label of the same name in `labelsTr`.

    nnU-Net's channel suffix is understood: image `a_0000.nii.gz` goes with label `a.nii.gz`. Labels in `labelsTs` make the
    cases of `imagesTs` the test section; one whose name a case of `imagesTr` has is called `imagesTs_a`. Where there are further
    channels, `a_0001.nii.gz` and so on are those of case `a`.

    Args:
        folder: the data set.
        channels: what a case has.
    """
    about = folder / "dataset.json"
    mistakes = Mistakes(about)
    content = read_object(about, EXAMPLE) if about.is_file() else {}
    listing = Listing(str(folder), value_names=value_names(content, mistakes))
    check_modalities(content, channels, mistakes)
    listing.problems += mistakes.errors()
    for images, labels, section in (("imagesTr", "labelsTr", None), ("imagesTs", "labelsTs", "test")):
        _pair(listing, folder / images, folder / labels, section, [channel.name for channel in channels[1:]])
    if not listing.labelled and not listing.problems:
        there = "the folder is empty" if not any(folder.iterdir()) else "there is no .nii or .nii.gz file in imagesTr and labelsTr"
        fix = "put images in imagesTr and labels of the same names in labelsTr, or give a datalist JSON (--datalist)"
        listing.problems.append(UserError(folder, there, fix))
    listing.cases.sort(key=lambda case: case.name)
    return listing


def _pair(listing: Listing, images: Path, labels: Path, section: str | None, further: Sequence[str]) -> None:
    """Add the cases of one pair of folders; unlabelled images are a problem in `imagesTr` only."""
    label_of, image_of = _by_stem(listing, labels), _by_stem(listing, images)
    for part in (labels, *([images] if section is None else [])):
        listing.problems += _links_to_nowhere(part)
    others = _take_channels(listing, image_of, label_of, further)
    used = set()
    unpacked = _folders_like_files(labels)
    taken = {case.name for case in listing.cases}
    for name, image in image_of.items():
        key = name if name in label_of else name.removesuffix("_0000")
        if key in used:
            fix = "keep one of the two images, or give this one a label of its own"
            listing.problems.append(UserError(image, f"the label of this image, {label_of[key].name}, is that of another image too", fix))
            continue
        case = key if key in label_of or name in others else name
        while case in taken:  # imagesTs/a beside imagesTr/a
            case = f"{images.name}_{case}"
        taken.add(case)
        if key in label_of:
            used.add(key)
            listing.cases.append(Case(case, str(image), str(label_of[key]), section, further=others.get(name, ())))
            continue
        listing.cases.append(Case(case, str(image), further=others.get(name, ())))
        folder = unpacked.get(name) or unpacked.get(name.removesuffix("_0000"))
        if folder:
            listing.problems.append(_is_folder(folder, f"the label of {image.name}"))
        elif section is None:
            fix = f"add the label as {labels / image.name}, or move the image to imagesTs"
            if not further and name[-5:-1] == "_000" and f"{name[:-5]}_0000" in image_of:
                fix = f"where it is a second channel of {name[:-5]}, name the channels (docs/channels.md); otherwise {fix}"
            listing.problems.append(UserError(image, f"this image has no label in {labels}", fix))
    unpacked = _folders_like_files(images)
    for name in sorted(set(label_of) - used):
        folder = unpacked.get(name) or unpacked.get(f"{name}_0000")
        if folder:
            listing.problems.append(_is_folder(folder, f"the image of {label_of[name].name}"))
            continue
        fix = f"add the image as {images / label_of[name].name}, or take the label away"
        listing.problems.append(UserError(label_of[name], f"this label has no image in {images}", fix))


def _take_channels(
    listing: Listing, image_of: dict[str, Path], label_of: dict[str, Path], further: Sequence[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    """The further channels of images `a_0000` by the image's stem, taken out of the images; a lack of one is a problem."""
    found = {}
    for name in [name for name in image_of if name.endswith("_0000") and name not in label_of] if further else []:
        files = {channel: image_of.pop(f"{name[:-4]}{number:04d}", None) for number, channel in enumerate(further, start=1)}
        for channel, path in files.items():
            if path is None:
                number = further.index(channel) + 1
                lost = f"{name[:-4]}{number:04d}{image_of[name].name[len(name) :]}"
                listing.problems.append(UserError(image_of[name], f"this image has no {channel}", f"put it beside it as {lost}"))
        found[name] = tuple((channel, str(path)) for channel, path in files.items() if path is not None)
    return found


def _links_to_nowhere(folder: Path) -> list[UserError]:
    """Links by the name of a NIfTI file to what is not there, as of a disk that is not mounted: their cases would be missed by nobody."""
    links = sorted(path for path in folder.absolute().iterdir() if path.is_symlink() and not path.exists()) if folder.is_dir() else ()
    named = (path for path in links if path.name.lower().endswith(ENDINGS) and not path.name.startswith("."))
    # here, as it imports numpy, and a list of cases is read where that is not wanted
    from bundle.data.scans.walk import file_problem

    return [UserError(path, problem.words, problem.fix) for path in named if (problem := file_problem(path))]


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
        first = files.setdefault(stem(path), path)
        if first is not path:
            listing.problems.append(UserError(path, f"{first.name} is the same case", "keep one of the two files"))
    return files
