"""LoadScand: values, affines and memory types of each format, and a clear refusal of what is no CT volume."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from small_scans import AFFINE, SHAPE, body, header_only, nifti

from bundle.data.load_scan import LoadScand
from bundle.errors import UserError


def load(path: Path) -> torch.Tensor:
    return LoadScand("image")({"image": str(path)})["image"]


def test_whole_numbers_stay_int16_in_the_order_of_the_file(tmp_path: Path) -> None:
    scan = load(nifti(tmp_path / "scan.nii.gz"))
    assert scan.dtype == torch.int16 and scan.stride() == (1, 30, 780)
    assert np.array_equal(scan.numpy(), body()) and np.allclose(scan.affine, AFFINE)
    assert np.array_equal(load(nifti(tmp_path / "one.nii", body()[..., None])).numpy(), body())


def test_metadata_say_what_the_header_leaves_open_and_can_be_collated(tmp_path: Path) -> None:
    from monai.data import list_data_collate

    known = load(nifti(tmp_path / "scan.nii.gz"))
    assert known.meta["orientation_known"] is True and known.meta["nifti_forms"].shape == (25,)
    image = nibabel.Nifti1Image(body(), AFFINE)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "guess.nii.gz")
    guess = load(tmp_path / "guess.nii.gz")
    assert guess.meta["orientation_known"] is False
    batch = list_data_collate([{"image": known[None]}, {"image": guess[None]}])["image"]
    assert batch.shape == (2, 1, *SHAPE)


def test_a_budget_of_memory_bounds_what_a_header_may_claim(tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii.gz")
    assert LoadScand("image", memory_gb=1.0)({"image": str(path)})["image"].shape == SHAPE
    with pytest.raises(UserError, match=r"30x26x22 voxels, .* GB, more than memory_gb"):
        LoadScand("image", memory_gb=1e-5)({"image": str(path)})


def test_slope_and_intercept(tmp_path: Path) -> None:
    raw = (body() + 1024).astype(np.uint16)
    for slope, intercept, dtype in ((1.0, -1024.0, torch.int16), (0.5, -512.0, torch.float32)):
        header_and_voxels(tmp_path / "scan.nii", raw, slope, intercept)
        scan = load(tmp_path / "scan.nii")
        assert scan.dtype == dtype
        assert np.allclose(scan.numpy(), raw * slope + intercept)


def header_and_voxels(path: Path, raw: np.ndarray, slope: float, intercept: float) -> None:
    """A NIfTI with these stored values and scaling, which nibabel itself would choose otherwise."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(raw.dtype)
    header.set_data_shape(raw.shape)
    header.set_sform(AFFINE, code=1)
    header.set_slope_inter(slope, intercept)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(header.binaryblock + bytes(4) + raw.tobytes(order="F"))


def test_numbers_that_are_none_become_air(tmp_path: Path) -> None:
    values = body().astype(np.float32)
    values[0], values[1] = np.nan, np.inf
    scan = load(nifti(tmp_path / "scan.nii.gz", values, dtype=np.float32))
    assert scan[:2].unique().tolist() == [-1024.0] and np.array_equal(scan[2:].numpy(), body()[2:])


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd", "MHA"])
def test_formats_of_itk(tmp_path: Path, ending: str) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(body().T))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((10.0, 20.0, 30.0))
    sitk.WriteImage(image, str(tmp_path / f"scan.{ending.lower()}"))
    (tmp_path / f"scan.{ending.lower()}").rename(tmp_path / f"scan.{ending}")
    scan = load(tmp_path / f"scan.{ending}")
    assert np.array_equal(scan.numpy(), body())
    assert np.allclose(scan.affine, [[-1, 0, 0, -10], [0, -2, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])


def test_refusals_name_the_file_and_the_reason(tmp_path: Path) -> None:
    colour = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, AFFINE), tmp_path / "rgb.nii")
    truncated = nifti(tmp_path / "truncated.nii")
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    flat = np.diag([4.0, 4.0, 0.0, 1.0])
    (tmp_path / "text.mha").write_text("no image")
    (tmp_path / "empty.nii").write_bytes(b"")
    singular = nifti(tmp_path / "singular.nii")
    image = nibabel.load(singular)
    image.header.set_sform(flat, code=1)
    image.header.set_qform(None, code=0)
    content = singular.read_bytes()
    singular.write_bytes(image.header.binaryblock + content[348:])
    cases = {
        tmp_path / "rgb.nii": "colour",
        truncated: "truncated",
        tmp_path / "text.mha": "cannot be read as an image",
        tmp_path / "empty.nii": "empty",
        singular: "singular",
        header_only(tmp_path / "huge.nii", (30000, 30000, 30000)): "30000x30000x30000",
        header_only(tmp_path / "big.nii", (512, 512, 240)): "truncated",
        nifti(tmp_path / "flat.nii", body()[:, :, :1]): "two-dimensional",
        nifti(tmp_path / "time.nii", np.stack([body()] * 2, -1)): "2 volumes",
        nifti(tmp_path / "complex.nii", body().astype(np.complex64), dtype=np.complex64): "complex",
        nifti(tmp_path / "nan.nii", np.full(SHAPE, np.nan, np.float32), dtype=np.float32): "no voxel holds a number",
        tmp_path / "nowhere.nii": "no such file",
    }
    for path, words in cases.items():
        with pytest.raises(UserError, match=words) as caught:
            load(path)
        assert str(path) in str(caught.value)
