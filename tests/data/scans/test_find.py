"""Finding scans: formats, DICOM in all its ways, hidden files, names that no two share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from small_scans import body, dicom_series, nifti, without_preamble

from bundle.data.load_scan import LoadScand
from bundle.data.scans import find_scans, labelled_structures, listed_scans, reference_labels
from bundle.errors import UserError

DICOM_AFFINE = [[-4, 0, 0, 50], [0, -4, 0, 40], [0, 0, 5, 10], [0, 0, 0, 1]]


def by_name(folder: Path, **options) -> dict[str, dict]:
    return {item["case"]: item for item in find_scans(folder, **options)}


def test_every_ending_in_any_case_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("a.nii", "b.NII.GZ", "sub/deep/c.nii.gz", ".hidden.nii.gz", ".git/d.nii.gz", "__MACOSX/e.nii.gz", "._a.nii"):
        nifti(tmp_path / name)
    for name in ("g.nrrd", "h.MHA", "i.mhd", "notes.txt", "j.png", "k.hdr"):
        (tmp_path / name).write_bytes(b"x")
    assert sorted(by_name(tmp_path)) == ["a", "b", "g", "h", "i", "sub_deep_c"]
    assert sorted(by_name(tmp_path, leave_out=tmp_path / "sub")) == ["a", "b", "g", "h", "i"]
    assert list(by_name(tmp_path / "b.NII.GZ")) == ["b"]


def test_a_case_has_the_same_name_alone_and_among_others(tmp_path: Path) -> None:
    for patient in ("patA", "patB"):
        nifti(tmp_path / patient / "CT" / "scan.nii.gz")
    both = by_name(tmp_path)
    assert sorted(both) == ["patA_CT_scan", "patB_CT_scan"]
    (tmp_path / "patB" / "CT" / "scan.nii.gz").unlink()
    assert list(by_name(tmp_path)) == ["patA_CT_scan"]
    assert both["patA_CT_scan"] == by_name(tmp_path)["patA_CT_scan"]


def test_of_two_formats_of_one_name_nifti_keeps_it(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004")
    found = {Path(item["source"]).name: item["case"] for item in find_scans(tmp_path)}
    assert found["a.nii.gz"] == "a" and found["a.nrrd"].startswith("a_") and len(found["a.nrrd"]) == len("a_123456")
    (tmp_path / "a.nii.gz").unlink()
    assert list(by_name(tmp_path)) == ["a"]


def test_dicom_folders_series_order_preamble_and_missing_endings(tmp_path: Path) -> None:
    dicom_series(tmp_path / "backwards", order=-1)
    dicom_series(tmp_path / "two")
    dicom_series(tmp_path / "two", uid="1.2.3.5", values=np.flip(body(), 2).copy())
    for path in dicom_series(tmp_path / "bare").iterdir():
        without_preamble(path)
    for path in list(dicom_series(tmp_path / "unnamed").iterdir()):
        path.rename(path.with_suffix(""))
    for path in list(dicom_series(tmp_path / "raw").iterdir()):
        path.rename(path.with_suffix(".img"))
    (tmp_path / "raw" / "numbers.raw").write_bytes(b"\x08\x00\x05\x00" + bytes(300))
    found = by_name(tmp_path)
    names = [f"two_{hashlib.sha256(uid).hexdigest()[:6]}" for uid in (b"1.2.3.4", b"1.2.3.5")]
    assert sorted(found) == sorted(["backwards", "bare", "unnamed", "raw", *names])
    loaded = {name: LoadScand("image")(item)["image"] for name, item in found.items()}
    for name in ("backwards", "bare", "unnamed", "raw"):
        assert np.array_equal(loaded[name].numpy(), body()), name
        assert np.allclose(loaded[name].affine, DICOM_AFFINE), name
    assert np.array_equal(loaded[names[0]].numpy(), body())
    assert np.array_equal(loaded[names[1]].numpy(), np.flip(body(), 2))


def test_a_dicom_case_is_named_after_its_folder_whatever_else_is_there(tmp_path: Path) -> None:
    dicom_series(tmp_path / "patA" / "CT")
    assert list(by_name(tmp_path)) == ["patA_CT"] and list(by_name(tmp_path / "patA" / "CT")) == ["CT"]
    scout = pydicom.dcmread(next((tmp_path / "patA" / "CT").iterdir()))
    scout.ImageType, scout.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "1.2.9"
    scout.save_as(tmp_path / "patA" / "CT" / "scout.dcm")
    pet = dicom_series(tmp_path / "patA" / "PET", uid="1.2.7")
    for path in pet.iterdir():
        image = pydicom.dcmread(path)
        image.Modality, image.SOPClassUID = "PT", "1.2.840.10008.5.1.4.1.1.128"
        image.save_as(path)
    found = find_scans(tmp_path)
    assert [(item["case"], len(item["image"]), item.get("problem")) for item in found] == [("patA_CT", 22, None)]
    assert found.left_alone[0].startswith("left alone: 22 PET files (patA/PET/")
    assert found.left_alone[1] == "left alone: 1 localizer (patA/CT/scout.dcm)"
    with pytest.raises(UserError, match=r"no scan is in this folder or below it .*22 PET files"):
        find_scans(pet)


def test_a_series_in_two_folders_is_named_after_what_they_share(tmp_path: Path) -> None:
    folder = dicom_series(tmp_path / "pat" / "DIR0")
    (tmp_path / "pat" / "DIR1").mkdir()
    for path in sorted(folder.iterdir())[:10]:
        path.rename(tmp_path / "pat" / "DIR1" / path.name)
    assert {name: len(item["image"]) for name, item in by_name(tmp_path).items()} == {"pat": 22}


def test_a_tilted_gantry_gives_a_sheared_affine(tmp_path: Path) -> None:
    item = by_name(dicom_series(tmp_path / "tilted", tilt=1.0))["tilted"]
    affine = LoadScand("image")(item)["image"].affine.numpy()
    # each slice lies 1 mm further along LPS y, which is -1 mm in RAS
    assert np.allclose(affine[:3, 2], [0, -1, 5]) and np.allclose(affine[:3, 1], [0, -4, 0])


def test_real_dicom(shared_data: Path) -> None:
    found = by_name(shared_data / "dicom")
    slab = LoadScand("image")(found["slab_20"])["image"]
    assert tuple(slab.shape) == (512, 512, 20) and str(slab.dtype) == "torch.int16"
    assert np.allclose(np.linalg.norm(slab.affine[:3, :3], axis=0), [0.9765625, 0.9765625, 2.0])
    whole = LoadScand("image")(found["abdomen_168"])["image"]
    assert tuple(whole.shape) == (217, 217, 168)
    # slices in their order: neighbours look alike, which they do not where the order is that of the text
    middle = whole.float().numpy()[60:160, 60:160, 40:120]
    assert np.abs(np.diff(middle, axis=2)).mean() < 60


def test_files_named_as_dicom_that_are_none_are_problems(tmp_path: Path) -> None:
    dicom_series(tmp_path / "series")
    (tmp_path / "series" / "broken.dcm").write_bytes(b"not DICOM" * 50)
    (tmp_path / "series" / "empty.dcm").write_bytes(b"")
    found = by_name(tmp_path)
    assert "problem" not in found["series"] and len(found["series"]["image"]) == 22
    assert "not a DICOM" in found["series_broken"]["problem"] and "empty" in found["series_empty"]["problem"]


def test_a_series_beside_which_a_file_cannot_be_read_is_in_doubt(tmp_path: Path) -> None:
    """The first or the last slice leaves no gap."""
    for folder in ("cut", "gone", "whole"):
        files = sorted(dicom_series(tmp_path / folder, uid=f"1.2.{len(folder)}").iterdir())
        last = max(files, key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))
        if folder == "cut":
            last.write_bytes(last.read_bytes()[:400])
        if folder == "gone":
            last.unlink()
            last.symlink_to(tmp_path / "not mounted")
    found = by_name(tmp_path)
    assert [len(found[folder]["image"]) for folder in ("cut", "gone", "whole")] == [21, 21, 22]
    for folder in ("cut", "gone"):
        assert found[folder]["doubt"].endswith(".dcm in its folder cannot be read, it may be one of its slices")
    assert "doubt" not in found["whole"] and all("problem" in item for name, item in found.items() if name.count("_"))


def test_listed_scans_are_named_after_their_labels(tmp_path: Path) -> None:
    images = [str(nifti(tmp_path / name)) for name in ("imagesTr/a_0000.nii.gz", "case_1/imaging.nii.gz", "case_2/imaging.nii.gz")]
    labels = ["labelsTr/a.nii.gz", "case_1/segmentation.nii.gz", "case_2/segmentation.nii.gz"]
    listed = [{"image": image, "label": str(tmp_path / label)} for image, label in zip(images, labels, strict=True)]
    found = {item["case"]: item for item in listed_scans(listed, tmp_path)}
    assert sorted(found) == ["a", "case_1_segmentation", "case_2_segmentation"]
    assert found["a"]["label_path"] == str(tmp_path / "labelsTr/a.nii.gz") and "problem" not in found["a"]
    assert reference_labels(list(found.values())) == {case: item["label_path"] for case, item in found.items()}
    assert labelled_structures(listed_scans([listed[0], {**listed[1], "labelled": ["pancreas"]}], tmp_path)) == {
        "case_1_segmentation": ["pancreas"]
    }
    assert listed_scans([{**listed[0], "label": str(tmp_path / "labelsTr/b_seg.nii.gz")}], tmp_path)[0]["case"] == "b"
    # two labels of one image are two cases, not one
    assert len(listed_scans([listed[0], {**listed[0], "label": str(tmp_path / "b.nii.gz")}], tmp_path)) == 2
    with pytest.raises(UserError, match="no labelled case"):
        listed_scans([])


def test_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_scans(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no scan"):
        find_scans(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="not a scan"):
        find_scans(tmp_path / "notes.txt")
    nifti(tmp_path / "a_seg.nii.gz")
    with pytest.raises(UserError, match=r"left alone: 1 label map \(a_seg.nii.gz\); other files: 1 .txt"):
        find_scans(tmp_path)


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    nifti(tmp_path / "scans" / "a.nii.gz")
    assert [item["source"] for item in find_scans("~/scans")] == [str(tmp_path / "scans" / "a.nii.gz")]


def test_results_beside_the_scans_are_left_alone(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    for name in ("a_seg.nii.gz", "a_probabilities.nii.gz", "a_attention_level2.nii.gz"):
        nifti(tmp_path / name)
    found = find_scans(tmp_path, leave_out=tmp_path)
    assert [item["case"] for item in found] == ["a"]
    assert found.left_alone == [
        "left alone: 2 results of an earlier run (a_attention_level2.nii.gz, ...)",
        "left alone: 1 label map (a_seg.nii.gz)",
    ]
