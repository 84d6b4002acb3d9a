"""One scan as transforms take it, its place among others, and why a file is none."""

from __future__ import annotations

from pathlib import Path

import nibabel
from small_scans import AFFINE, body, nifti

from bundle.data.scans.case_names import Place
from bundle.data.scans.scan import FoundScans, Scan, Search, place_of, problem_of
from bundle.data.scans.walk import Problem


def test_a_scan_as_transforms_take_it() -> None:
    place = Place(("a",), 0, "a.nii")
    assert Scan(place, "/d/a.nii", ("/d/a.nii",)).item("a") == {"image": "/d/a.nii", "case": "a", "source": "/d/a.nii"}
    series = Scan(place, "/d", ("/d/1", "/d/2"), Problem("torn", "mend it"), (("pet", ("/p/1", "/p/2")), ("late", "/l.nii")))
    assert series.item("b") == {
        "image": ["/d/1", "/d/2"],
        "channels": {"pet": ["/p/1", "/p/2"], "late": "/l.nii"},
        "case": "b",
        "source": "/d",
        "problem": "torn",
        "fix": "mend it",
    }


def test_a_search_names_a_file_after_the_folders_below_its_root(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.take(tmp_path / "p" / "ct" / "a.nii.gz")
    search.take(tmp_path, Problem("closed", "open it"))
    assert [scan.place.parts for scan in search.scans] == [("p", "ct", "a"), (tmp_path.name,)]
    assert search.scans[1].problem == Problem("closed", "open it")


def test_of_one_name_the_place_of_a_volume_comes_before_dicom() -> None:
    ranks = [place_of(("a",), Path(name))[1] for name in ("a.nii.gz", "a.nrrd", "a.dcm", "a")]
    assert ranks[0] < ranks[1] < ranks[2] == ranks[3]


def test_a_label_map_by_its_header_and_a_file_that_is_gone_are_no_scans(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    assert problem_of(path) is None and problem_of(tmp_path) is None
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.header.set_intent("label")
    nibabel.save(image, path)
    found = problem_of(path)
    assert found is not None and "label map" in found.words
    gone = problem_of(tmp_path / "b.nii.gz")
    assert gone is not None and gone.words == "there is no such file"


def test_entries_and_what_was_left_alone() -> None:
    found = FoundScans([{"case": "a"}], ["left alone: 1 label map (b)"])
    assert found == [{"case": "a"}] and found.left_alone == ["left alone: 1 label map (b)"]
