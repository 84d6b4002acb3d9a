import nibabel as nib
import numpy as np
import pytest

from bundle.data.synthetic.patient import make_patient, store


@pytest.fixture(scope="module")
def patients():
    return [make_patient([5, 1, i], max_voxels=2.5e5) for i in range(4)]


def test_same_seed_same_bytes_another_seed_another_patient(patients):
    again = make_patient([5, 1, 0], max_voxels=2.5e5)
    for first, second in zip(patients[0], again, strict=True):
        assert first.tobytes() == second.tobytes()
    assert patients[0][0].shape != patients[1][0].shape or (patients[0][0] != patients[1][0]).any()


def test_labels_and_types(patients):
    for image, labels, affine in patients:
        assert image.dtype == np.int16 and labels.dtype == np.uint8 and image.shape == labels.shape
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        assert (0.69 <= spacing[:2]).all() and (spacing[:2] <= 3.01).all() and 1 <= spacing[2] <= 5
    assert set().union(*(np.unique(labels) for _, labels, _ in patients)) == {0, 1, 2, 3}


def test_no_threshold_finds_the_pancreas(patients):
    """The best interval of HU, chosen knowing the answer, still finds mostly other tissue."""
    found = 0
    for image, labels, _ in patients:
        pancreas = labels == 1
        if pancreas.sum() < 50:
            continue
        found += 1
        centre, spread = np.median(image[pancreas]), image[pancreas].std()
        dice = []
        for width in (0.3, 0.6, 1.0, 1.5, 2.0):
            guess = np.abs(image - centre) < width * spread
            dice.append(2 * (guess & pancreas).sum() / (guess.sum() + pancreas.sum()))
        assert max(dice) < 0.1
    assert found >= 2


def test_organs_lie_where_they_belong(patients):
    """In patient coordinates the spleen is left and the liver's side is right; stored order does not matter."""
    for _, labels, affine in patients:
        spleen, pancreas = (nib.affines.apply_affine(affine, np.argwhere(labels == v)) for v in (2, 1))
        assert len(spleen) > 1000 and len(pancreas) > 500
        assert spleen[:, 0].mean() < pancreas[:, 0].mean() - 20
        assert spleen[:, 1].mean() < pancreas[:, 1].mean()


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAI"])
def test_storing_moves_no_voxel_in_the_patient(orientation):
    image = np.zeros((5, 6, 7), np.int16)
    image[1, 2, 3] = 100
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-10, 5, 7)
    stored, _, stored_affine = store(image, image.astype(np.uint8), affine, orientation)
    assert "".join(nib.aff2axcodes(stored_affine)) == orientation
    where = np.argwhere(stored == 100)[0]
    np.testing.assert_allclose(nib.affines.apply_affine(stored_affine, where), (-8, 9, 16))
