import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.donors import load_donor, read_donor, save_donor
from bundle.errors import UserError


def write_map(path, *, leave_out=()):
    """A map in LAS storage: four balls of radius 10 mm on a 2x2x4 mm grid."""
    labels = np.zeros((60, 50, 30), np.uint8)
    grid = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(labels.shape, (2, 2, 4), strict=True)), indexing="ij"), -1)
    for value, centre in ((1, (30, 30, 80)), (2, (60, 60, 60)), (3, (30, 40, 40)), (6, (90, 50, 70))):
        if value not in leave_out:
            labels[np.linalg.norm(grid - centre, axis=-1) < 10] = value
    affine = np.diag([-2.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (200, -10, 5)
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


@pytest.fixture(scope="module")
def donor(tmp_path_factory):
    return read_donor(write_map(tmp_path_factory.mktemp("maps") / "ball.nii.gz"))


def test_signed_distance_in_patient_coordinates(donor):
    # the pancreas' centre: x = 200 - 60, y = -10 + 60, z = 5 + 60
    where = [np.array([140.0, 140, 140]), np.array([50.0, 56, 64]), np.array([65.0, 65, 65])]
    inside, within, outside = donor.organs["pancreas"].sample(where)
    assert inside == pytest.approx(-10, abs=1.6)
    assert within == pytest.approx(-4, abs=1.6)
    assert outside == pytest.approx(4, abs=1.6)
    assert donor.organs["pancreas"].sample([np.array([0.0]), np.array([0.0]), np.array([0.0])])[0] == 14


def test_a_map_a_hair_off_whole_numbers_is_the_same(donor, tmp_path):
    path = write_map(tmp_path / "ball.1.nii.gz")
    stored = nib.load(path)
    off = np.nextafter(np.asarray(stored.dataobj).astype(np.float32), np.float32(-1))
    nib.save(nib.Nifti1Image(off, stored.affine), path)
    again = read_donor(path)
    assert again.name == "ball.1" and donor.name == "ball"
    np.testing.assert_array_equal(again.organs["pancreas"].distance, donor.organs["pancreas"].distance)


def test_other_structures_of_a_map_are_no_organs(donor, tmp_path):
    """257 is 1 in 8 bits, the spleen."""
    path = write_map(tmp_path / "ball.nii.gz")
    stored = nib.load(path)
    more = np.asarray(stored.dataobj).astype(np.int16)
    more[:5] = 257
    nib.save(nib.Nifti1Image(more, stored.affine), path)
    np.testing.assert_array_equal(read_donor(path).organs["spleen"].distance, donor.organs["spleen"].distance)


def test_points_lie_inside(donor):
    points = donor.organs["liver"].points(step=1)
    assert np.linalg.norm(points - (110, 40, 75), axis=1).max() < 10.5
    np.testing.assert_allclose(points.mean(0), (110, 40, 75), atol=1.0)
    assert donor.top == 5 + 29 * 4


def test_saved_and_loaded_alike(donor, tmp_path):
    save_donor(donor, tmp_path / "ball.npz")
    again = load_donor(tmp_path / "ball.npz")
    assert (again.name, again.top, set(again.organs)) == (donor.name, donor.top, set(donor.organs))
    np.testing.assert_array_equal(again.organs["spleen"].distance, donor.organs["spleen"].distance)
    assert list(tmp_path.iterdir()) == [tmp_path / "ball.npz"]


def test_a_map_without_the_organs_that_are_needed_is_refused(tmp_path):
    with pytest.raises(UserError, match="no pancreas"):
        read_donor(write_map(tmp_path / "poor.nii.gz", leave_out=(2,)))
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        read_donor(tmp_path / "broken.nii.gz")
