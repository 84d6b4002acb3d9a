"""Damage done to a scan on purpose is named; real CT is not accused of anything."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.quality.scan_check import check_scan

SPACING = np.diag([3.0, 3.0, 5.0, 1.0])


def torso(slices: int = 60) -> np.ndarray:
    """An elliptic body of soft tissue with a bright bone that wanders, noise of 10 HU, air around."""
    x, y, z = np.ogrid[:100, :80, :slices]
    scan = np.where(((x - 50) / 45) ** 2 + ((y - 40) / 33) ** 2 < 1, 40.0, -1000.0) + 0.0 * z
    bone = (x - 50 - 15 * np.sin(z / 12)) ** 2 + (y - 25) ** 2 < 60
    scan[bone] = 250.0
    return (scan + np.random.default_rng(0).normal(0, 10, scan.shape)).astype(np.float32)


def eight_bits(scan: np.ndarray) -> np.ndarray:
    """A window from -160 to 240 HU in 8 bits, as pictures have it."""
    return np.clip((scan + 160) / 400 * 255, 0, 255).round().astype(np.uint8)


def words(scan: np.ndarray, affine: np.ndarray = SPACING) -> str:
    return "; ".join(reason for _, reason in check_scan(scan, affine))


def test_an_ordinary_scan_has_no_finding():
    assert words(torso()) == ""


def test_voxels_that_are_no_numbers_are_counted_before_loading_or_seen_now():
    scan = torso()
    assert check_scan(scan, SPACING, not_numbers=scan.size // 25) == [(0.6, "4% of the scan are not numbers")]
    assert check_scan(scan, SPACING, not_numbers=1) == [(0.6, "less than 1% of the scan are not numbers")]
    scan[:8] = np.nan  # of 100
    assert check_scan(scan, SPACING) == [(0.6, "8% of the scan are not numbers")]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda scan: scan + 200, "air is at -815 HU instead of -1000"),
        (lambda scan: scan + 1024, "do not look like HU"),
        (lambda scan: scan / 2, "air is at -505 HU"),
        (lambda scan: (scan + 1000) / 2000, "are not Hounsfield units: it looks normalised"),
        (lambda scan: scan * 0, "has the one value 0 everywhere"),
        (lambda scan: scan * np.nan, "the scan holds no numbers"),
        (eight_bits, "values from 0 to 255 are not Hounsfield units: it looks windowed to 8 bits"),
        (lambda scan: (eight_bits(scan).astype(int) - 128).astype(np.int8), "values from -128 to 127 are not Hounsfield units"),
        (
            lambda scan: np.where(scan < -500, -1024, eight_bits(scan).astype(np.int16)),
            "from -1024 to 255 are not Hounsfield units: it looks windowed to 8",
        ),
        (lambda scan: np.maximum(scan + 1100, 0), "are not Hounsfield units: no value is below 0"),
        (lambda scan: (scan * 10 - 90000).astype(np.int32), "only 0.0 % of the voxels are soft tissue"),
    ],
)
def test_values_that_are_no_hu_are_named(damage, expected):
    assert expected in words(damage(torso()))


def test_windows_of_hu_are_still_hu():
    """A CT clipped to the range that the network looks at gives the same labels."""
    assert words(np.clip(torso(), -200, 300)) == ""
    assert words(np.clip(torso(), -160, 240)) == ""


def test_doctor_and_inference_say_the_same(tmp_path):
    import nibabel

    from bundle.data.checks.facts import image_facts
    from bundle.data.checks.rules import case_problems
    from bundle.data.datalist import Case

    image = nibabel.Nifti1Image(eight_bits(torso()), None)
    image.header["pixdim"][1:4] = np.diag(SPACING)[:3]
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii.gz")
    path = str(tmp_path / "a.nii.gz")
    said = {one.problem for one in case_problems(Case("a", path), image_facts(path), None, {"background": 0})}
    assert said == {reason for _, reason in check_scan(eight_bits(torso()), SPACING, orientation_known=False)}
    assert said == {
        "values from 0 to 255 are not Hounsfield units: it looks windowed to 8 bits",
        "its header does not say its orientation (a NIfTI's qform or sform, an NRRD's space), so which side is left is a guess",
    }


def test_a_burst_of_noise_is_counted_in_slices():
    scan = torso()
    scan[..., 20:32] += np.random.default_rng(1).normal(0, 120, scan[..., 20:32].shape).astype(np.float32)
    assert words(scan).startswith("noise of 12") and "in 12 slices, 10 HU in the others" in words(scan)


def test_noise_everywhere_is_named_with_its_size():
    scan = torso() + np.random.default_rng(1).normal(0, 120, torso().shape).astype(np.float32)
    (reason,) = words(scan).split("; ")
    assert reason.startswith("noise of 1") and reason.endswith("HU in the whole scan")
    assert 100 < float(reason.split()[2]) < 125, "voxels beyond 300 HU are left out, which takes a little away"


def test_another_axis_order_gives_the_same_words():
    scan = torso()
    scan[..., 20:32] += np.random.default_rng(1).normal(0, 120, scan[..., 20:32].shape).astype(np.float32)
    turned = np.array([[0.0, 0, -3, 0], [3, 0, 0, 0], [0, -5, 0, 0], [0, 0, 0, 1]])
    stored = np.transpose(scan, (1, 2, 0))[:, ::-1, ::-1]
    assert words(stored, turned) == words(scan)


def test_slices_that_do_not_follow_each_other_are_named():
    scan = torso(120)
    joined = np.concatenate([scan[..., :40], np.roll(scan, (14, 8), (0, 1))[..., 80:]], axis=2)
    assert words(joined) == "the anatomy jumps between slices 40 and 41 counted from the feet, slices may be missing"


def test_empty_slices_at_the_ends_are_no_jump_but_empty_ones_inside_are():
    scan = torso()
    scan[..., :5] = scan[..., -3:] = -1024
    assert words(scan) == ""
    scan[..., 30] = -1024
    assert words(scan) == "the anatomy jumps at 2 places counted from the feet, slices may be missing"


def test_a_slab_is_small_and_a_tiny_scan_does_not_crash():
    assert words(torso(8)) == "the scan covers only 40 mm from head to foot"
    assert "covers only" in words(np.zeros((3, 2, 1), np.float32), np.eye(4))


def test_nan_is_counted():
    scan = torso()
    scan[:50] = np.nan
    assert "50% of the scan are not numbers" in words(scan)


@pytest.mark.shared_data
def test_real_ct_has_no_finding(shared_data):
    import nibabel

    image = nibabel.load(shared_data / "ct" / "torso_3mm" / "ct.nii.gz")
    assert words(np.asarray(image.dataobj, dtype=np.float32), image.affine) == ""
