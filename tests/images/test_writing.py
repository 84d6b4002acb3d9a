"""Label maps lie on their scans in tools of both kinds: nibabel, which takes the sform, and ITK, which mostly takes the qform."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from small_scans import AFFINE, SHAPE, body

from bundle.images import read_scan, write_nifti
from bundle.images.forms import Forms


def corners_in_itk(path: Path) -> np.ndarray:
    image = sitk.ReadImage(str(path))
    ends = [(0, int(n) - 1) for n in image.GetSize()]
    return np.array([image.TransformIndexToPhysicalPoint((i, j, k)) for i in ends[0] for j in ends[1] for k in ends[2]])


def label_map_of(source: Path, path: Path) -> Path:
    values, affine, extra = read_scan(source)
    write_nifti(path, (values > 0).astype(np.uint8), affine, forms=Forms.from_numbers(extra["nifti_forms"]))
    return path


def scan(path: Path, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int], unit: str = "mm") -> Path:
    image = nibabel.Nifti1Image(body(), sform)
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


MOVED = AFFINE + np.array([[0, 0, 0, 15], [0, 0, 0, -10], [0, 0, 0, 20], [0, 0, 0, 0]])


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4), (1, 0), (0, 1), (0, 2), (3, 3), (0, 0)])
def test_forms_that_disagree_are_kept_with_their_codes(tmp_path: Path, codes: tuple[int, int]):
    source = scan(tmp_path / "scan.nii.gz", AFFINE, MOVED, codes)
    found = label_map_of(source, tmp_path / "label.nii.gz")
    one, other = nibabel.load(source), nibabel.load(found)
    assert np.array_equal(one.affine, other.affine)
    for form in ("get_sform", "get_qform"):
        (a, code), (b, same) = (getattr(image.header, form)(coded=True) for image in (one, other))
        assert code == same and (a is b is None or np.array_equal(a, b))
    assert np.allclose(corners_in_itk(source), corners_in_itk(found), atol=1e-4)


def test_a_scan_that_itk_opens_by_its_qform_has_a_label_map_that_itk_opens(tmp_path: Path):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.004  # 0.1 % of 4 mm
    source = scan(tmp_path / "scan.nii.gz", sheared, AFFINE, (1, 2))
    found = label_map_of(source, tmp_path / "label.nii.gz")
    assert np.allclose(corners_in_itk(source), corners_in_itk(found), atol=1e-4)
    assert np.allclose(nibabel.load(found).affine, sheared)


def test_other_units_are_those_of_the_scan(tmp_path: Path):
    metres = AFFINE.copy()
    metres[:3] /= 1000
    source = scan(tmp_path / "scan.nii.gz", metres, metres, (1, 1), "meter")
    found = label_map_of(source, tmp_path / "label.nii.gz")
    assert np.array_equal(nibabel.load(source).affine, nibabel.load(found).affine)
    assert nibabel.load(found).header.get_xyzt_units()[0] == "meter"
    assert np.allclose(corners_in_itk(source), corners_in_itk(found), atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize(("place", "value"), [(1, -4.0), (3, -5.0), (0, -0.5), (0, -2.0)])
def test_signs_that_itk_and_nibabel_read_differently_are_those_of_the_scan(
    tmp_path: Path, codes: tuple[int, int], place: int, value: float
):
    """pixdim below 0 is no NIfTI: nibabel takes 4 mm for -4 mm, ITK mirrors the axis."""
    source = scan(tmp_path / "scan.nii", AFFINE, MOVED, codes)
    content = bytearray(source.read_bytes())
    content[76 + 4 * place : 80 + 4 * place] = np.float32(value).tobytes()
    source.write_bytes(content)
    found = label_map_of(source, tmp_path / "label.nii.gz")
    assert np.allclose(nibabel.load(source).affine, nibabel.load(found).affine)
    assert np.allclose(corners_in_itk(source), corners_in_itk(found), atol=1e-4)
    # where the sform decides the sides are known, in a header without one they are a guess
    assert read_scan(source)[2]["orientation_known"] is (codes[1] > 0)


def test_forms_of_another_place_are_not_taken(tmp_path: Path):
    _, _, extra = read_scan(scan(tmp_path / "scan.nii.gz", AFFINE, AFFINE, (1, 1)))
    write_nifti(tmp_path / "x.nii.gz", body(), MOVED, forms=Forms.from_numbers(extra["nifti_forms"]))
    assert np.allclose(nibabel.load(tmp_path / "x.nii.gz").affine, MOVED)


def test_without_forms_both_are_the_affine_and_no_quaternion_shears(tmp_path: Path):
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.5
    assert Forms.from_numbers(Forms.none()) is None
    for affine, code in ((AFFINE, 1), (sheared, 0)):
        write_nifti(tmp_path / "x.nii.gz", body(), affine)
        image = nibabel.load(tmp_path / "x.nii.gz")
        assert np.allclose(image.affine, affine) and int(image.header["qform_code"]) == code
        assert image.get_data_dtype() == np.int16 and np.array_equal(np.asarray(image.dataobj), body())


def test_several_volumes_one_at_a_time_and_the_same_bytes_each_time(tmp_path: Path):
    parts = [np.full(SHAPE, value, dtype=np.uint8) for value in (0, 51, 255)]
    write_nifti(tmp_path / "a.nii.gz", (part for part in parts), AFFINE, count=3, scaled=True)
    write_nifti(tmp_path / "b.nii.gz", parts, AFFINE, count=3, scaled=True)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert image.shape == (*SHAPE, 3) and np.allclose(image.get_fdata()[0, 0, 0], [0, 0.2, 1])
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[:4] == (348).to_bytes(4, "little")
