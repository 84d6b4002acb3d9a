"""What is measured of a file: exact numbers, whatever format and type it has."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from bundle.data.checks.facts import Thinned, case_facts, image_facts, label_facts


def test_numbers_by_hand(tmp_path, save):
    values = np.array([-1000, -1000, 0, 0, 0, 0, 40, 100], np.int16).reshape(2, 2, 2)
    facts = image_facts(str(save(tmp_path / "a.nii.gz", values)))
    assert (facts["minimum"], facts["maximum"], facts["mean"]) == (-1000.0, 100.0, pytest.approx(-232.5))
    assert facts["sd"] == pytest.approx(values.std()) and facts["percentiles"]["50"] == 0
    assert facts["histogram"] == [[-1000, 2], [0, 4], [40, 1], [100, 1]]
    assert (facts["soft_share"], facts["air_share"]) == (0.75, 0.25)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_labels_of_every_type(tmp_path, dtype, ending):
    values = np.zeros((5, 6, 7), dtype)
    values[0, 0, :3], values[1, 1, :2] = 1, 200
    header = nibabel.Nifti1Header(endianness=">" if str(dtype).startswith(">") else "<")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), header), tmp_path / f"a{ending}")
    assert label_facts(str(tmp_path / f"a{ending}"))["counts"] == {"0": 205, "1": 3, "200": 2}


def test_slope_and_intercept_of_the_header(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((2, 2, 2))
    header.set_slope_inter(10, -1024)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (tmp_path / "b.nii").write_bytes(header.binaryblock + b"\0\0\0\0" + np.arange(8, dtype=np.int16).tobytes())
    facts = image_facts(str(tmp_path / "b.nii"))
    assert (facts["minimum"], facts["maximum"]) == (-1024.0, -954.0) and facts["mean"] == pytest.approx(-989.0)


def test_fingerprint_is_that_of_the_scan_not_of_the_file(tmp_path, save, scan):
    image = scan(0)[0]
    same = [
        save(tmp_path / "a.nii", image),
        save(tmp_path / "b.nii.gz", image[::-1, :, ::-1].astype(np.float32)),
        save(tmp_path / "c.nii.gz", image.transpose(2, 0, 1).astype(np.int32)),
    ]
    assert len({image_facts(str(path))["fingerprint"] for path in same}) == 1
    assert image_facts(str(save(tmp_path / "d.nii", image + 1)))["fingerprint"] != image_facts(str(same[0]))["fingerprint"]


def test_more_voxels_than_one_chunk(tmp_path, save, monkeypatch):
    monkeypatch.setattr("bundle.data.checks.facts.CHUNK", 100)
    values = np.random.default_rng(0).integers(0, 5, (11, 12, 13)).astype(np.uint8)
    found, counts = np.unique(values, return_counts=True)
    expected = dict(zip(map(str, found.tolist()), counts.tolist(), strict=True))
    assert label_facts(str(save(tmp_path / "a.nii.gz", values)))["counts"] == expected


def test_absurd_intensities_stay_in_bounds(tmp_path, save):
    values = np.array([-3e9, 0, 5, 1e12], np.float64).reshape(2, 2, 1)
    facts = image_facts(str(save(tmp_path / "a.nii.gz", values)))
    assert (facts["minimum"], facts["maximum"]) == (-3e9, 1e12)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".MHA"])
def test_other_formats(tmp_path, ending):
    import itk

    values = np.zeros((4, 5, 6), np.int16)
    values[1, 2, 3] = 70
    image = itk.image_from_array(values)
    image.SetSpacing([1.0, 2.0, 3.0])
    itk.imwrite(image, str(tmp_path / f"a{ending.lower()}"))
    (tmp_path / f"a{ending.lower()}").rename(tmp_path / f"a{ending}")
    facts = image_facts(str(tmp_path / f"a{ending}"))
    assert facts["shape"] == [6, 5, 4] and facts["maximum"] == 70.0
    np.testing.assert_allclose(np.abs(np.diag(facts["affine"])), [1, 2, 3, 1])


def test_dicom_folder(shared_data):
    facts = image_facts(str(shared_data / "dicom/abdomen_168"))
    assert facts["shape"] == [217, 217, 168] and facts["minimum"] == -1024 and 1886 < facts["maximum"] < 1887
    assert facts["affine"][2] == [0.0, 0.0, 2.5, -300.5]


def test_thinned_is_every_nth_voxel_across_pieces(tmp_path, save, monkeypatch):
    monkeypatch.setattr("bundle.data.checks.facts.CHUNK", 250)  # two slices at once
    values = np.random.default_rng(0).integers(-1000, 1000, (11, 10, 17)).astype(np.int16)
    thin = Thinned()
    image_facts(str(save(tmp_path / "a.nii.gz", values, np.diag([0.9, 1.6, 1.0, 1.0]))), thin)
    np.testing.assert_array_equal(thin.array(), values[::3, ::1, ::3])


def test_fit_of_label_and_image(tmp_path, save, scan):
    image, label = scan(0, (40, 36, 30))
    paths = [str(save(tmp_path / "i.nii.gz", image)), str(save(tmp_path / "l.nii.gz", label[:, ::-1]))]
    fits = case_facts(*paths)[1]["fit"]
    assert len(fits) == 8 and int(np.argmax(fits)) == 2  # the flip of y
    assert "fit" not in case_facts(paths[0], str(save(tmp_path / "m.nii.gz", label[:-1])))[1]
