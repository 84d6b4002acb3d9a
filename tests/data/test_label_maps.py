"""Label maps on disk: which file is which case, and what it holds as whole numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from listings import touch
from small_scans import AFFINE, SHAPE, header_only, nifti

from bundle.data import label_maps
from bundle.data.label_maps import case_name, find, grid, read, values_in
from bundle.errors import UserError


@pytest.mark.parametrize(
    ("file", "case"),
    [
        ("a.nii.gz", "a"),
        ("x/a_seg.nii.gz", "a"),
        ("a.seg.nrrd", "a"),
        ("a_seg_seg.nii", "a_seg"),
        ("seg.nii.gz", "seg"),
        ("a.b.MHA", "a.b"),
    ],
)
def test_the_case_of_a_file(file: str, case: str) -> None:
    assert case_name(file) == case


def test_beside_a_result_lies_what_is_no_label_map(tmp_path: Path) -> None:
    touch(tmp_path, "a_seg.nii.gz", "a.nii.gz", "a_0000.nii.gz", "a_probabilities.nii.gz", "a_attention_level2.nii.gz", "a_confidence.nrrd")
    touch(tmp_path, "b.nii.gz", "b_attention.nii.gz", ".hidden.nii.gz", ".git/c.nii.gz", "notes.txt", "sub/a.nii.gz", "envi.hdr")
    found = {name: path.relative_to(tmp_path).as_posix() for name, path in find(tmp_path).items()}
    # only what belongs to a case with a label map in the same folder is left alone
    assert found == {"a": "a_seg.nii.gz", "b": "b.nii.gz", "b_attention": "b_attention.nii.gz", "sub/a": "sub/a.nii.gz"}


def test_files_of_one_name_get_their_folder_and_two_of_one_case_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "p1/seg.nii.gz", "p2/seg.nii.gz", "p3/other.nii.gz")
    assert list(find(tmp_path)) == ["other", "p1/seg", "p2/seg"]
    touch(tmp_path, "p1/seg.nrrd")
    with pytest.raises(UserError, match=r"is the second label map of case 'p1/seg'; the other is .*/p1/seg\.nii\.gz"):
        find(tmp_path)


def test_a_file_a_list_and_names_given_by_hand(tmp_path: Path) -> None:
    touch(tmp_path, "a_seg.nii.gz", "b.nii.gz")
    assert find(tmp_path / "a_seg.nii.gz") == {"a": tmp_path / "a_seg.nii.gz"}
    assert find([str(tmp_path / "b.nii.gz"), tmp_path / "a_seg.nii.gz"]) == {"a": tmp_path / "a_seg.nii.gz", "b": tmp_path / "b.nii.gz"}
    assert find({"y": "2.nii", "x": "1.nii"}) == {"x": Path("1.nii"), "y": Path("2.nii")}
    (tmp_path / "empty").mkdir()
    for where, said in (
        (tmp_path / "no", "no such file or folder"),
        (tmp_path / "empty", "holds no label maps"),
        ([], "the list of files is empty"),
    ):
        with pytest.raises(UserError, match=said):
            find(where)


def test_values_are_the_smallest_whole_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_maps, "SLAB", SHAPE[0] * SHAPE[1] * 3)  # three slices at once
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 2, 3], labels[4, 5, 21] = 2, 7
    for stored in (labels, labels.astype(np.float32) * np.float32(0.99999994), labels.astype(np.float64) + 9e-4):
        found, affine = read(nifti(tmp_path / "a.nii.gz", stored, dtype=stored.dtype.type))
        assert found.dtype == np.uint8 and np.array_equal(found, labels) and np.allclose(affine, AFFINE)
        assert values_in(found) == {0, 2, 7}
    found, _ = read(nifti(tmp_path / "a.nii.gz", labels.astype(np.float32) * -1, dtype=np.float32))
    assert found.dtype == np.int32 and values_in(found) == {0, -2, -7}
    assert values_in(np.full((2, 2, 2), 3)) == {3}, "no background"
    for wrong in (0.5, np.nan, 3e9):
        labels = labels.astype(np.float64)
        labels[0, 0, 20] = wrong
        with pytest.raises(UserError, match=r"a\.nii\.gz: holds the value .*give the labels, not probabilities"):
            read(nifti(tmp_path / "a.nii.gz", labels, dtype=np.float64))


def test_the_grid_is_read_without_voxels(tmp_path: Path) -> None:
    shape, affine = grid(header_only(tmp_path / "huge.nii", (3000, 3000, 3000)))
    assert shape == (3000, 3000, 3000) and np.allclose(affine, AFFINE)
    (tmp_path / "text.nii").write_text("not an image")
    with pytest.raises(UserError, match=r"text\.nii"):
        grid(tmp_path / "text.nii")
