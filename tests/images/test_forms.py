"""qform and sform: kept number by number, and how far apart they put a scan. In files they are tested in test_writing.py."""

from __future__ import annotations

import nibabel
import numpy as np

from bundle.images.forms import LENGTH, Forms

AFFINE = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 3, 11], [0, 0, 0, 1]])


def header(qform: np.ndarray | None = AFFINE, sform: np.ndarray | None = AFFINE, codes: tuple[int, int] = (1, 4)) -> nibabel.Nifti1Header:
    made = nibabel.Nifti1Header()
    made.set_data_shape((10, 20, 30))
    made.set_qform(qform, codes[0])
    made.set_sform(sform, codes[1])
    made.set_xyzt_units("mm")
    return made


def test_what_was_kept_is_put_back() -> None:
    forms = Forms.of(header())
    assert (forms.qform_code, forms.sform_code, forms.numbers.shape) == (1, 4, (LENGTH,))
    other = nibabel.Nifti1Header()
    Forms.from_numbers(forms.numbers.reshape(1, -1)).put_into(other)
    for form in ("get_qform", "get_sform"):
        (kept, code), (was, before) = (getattr(one, form)(coded=True) for one in (other, header()))
        assert code == before and np.allclose(kept, was) and np.allclose(kept, AFFINE, atol=1e-5)
    assert other.get_xyzt_units()[0] == "mm" and np.allclose(other["pixdim"][1:4], [1.5, 2, 3])


def test_images_of_other_formats_have_none() -> None:
    assert Forms.none().shape == (LENGTH,) and Forms.from_numbers(Forms.none()) is None and Forms.from_numbers([1, 2]) is None


def test_the_gap_is_that_of_the_far_corner_along_an_axis() -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += [15, -10, 20]
    assert np.isclose(Forms.of(header(moved)).gap_mm((10, 20, 30)), 20, atol=1e-4)
    longer = AFFINE.copy()
    longer[:3, 2] *= 1.1
    # 30 slices of 3 mm, and of 3.3 mm
    assert np.isclose(Forms.of(header(longer)).gap_mm((10, 20, 30)), 9, atol=1e-4)
    assert Forms.of(header()).gap_mm((10, 20, 30)) < 1e-4


def test_without_one_of_the_two_or_with_a_quaternion_without_sense_there_is_no_gap() -> None:
    assert Forms.of(header(codes=(0, 1))).gap_mm((9, 9, 9)) is None and Forms.of(header(codes=(1, 0))).gap_mm((9, 9, 9)) is None
    wrong = header()
    wrong["quatern_b"] = wrong["quatern_c"] = 5.0
    assert Forms.of(wrong).gap_mm((9, 9, 9)) is None
