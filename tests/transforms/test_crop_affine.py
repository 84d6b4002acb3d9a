"""Random crop and affine in one resampling: against plain slices, scipy, and by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from bundle.errors import UserError
from bundle.transforms.crop_affine import RandCropAffined, sample, sampling_grid

IMAGE = torch.arange(12 * 10 * 9, dtype=torch.float32).reshape(1, 12, 10, 9)


def make(size=(6, 6, 6), **options):
    return RandCropAffined(["image", "label"], size, **options).set_random_state(seed=3)


def test_without_affine_the_patch_is_a_slice_of_the_scan():
    crop = make(prob=0.0)
    starts = set()
    for _ in range(20):
        patch = crop({"image": IMAGE, "label": IMAGE.to(torch.int32)})
        start = np.unravel_index(int(patch["label"][0, 0, 0, 0]), IMAGE.shape[1:])
        wanted = IMAGE[(slice(None), *(slice(s, s + 6) for s in start))]
        assert torch.allclose(patch["image"], wanted, atol=1e-3)
        assert torch.equal(patch["label"], wanted.to(torch.int32))
        starts.add(start)
    # 7 x 5 x 4 places there are: 20 draws that meet fewer than ten would not be uniform
    assert len(starts) > 10


def test_every_place_of_a_short_axis_is_drawn():
    crop = RandCropAffined("image", (12, 10, 7), mode="nearest", prob=0.0).set_random_state(seed=0)
    z = {int(crop({"image": IMAGE})["image"][0, 0, 0, 0]) for _ in range(40)}
    assert z == {0, 1, 2}


def test_small_scan_is_padded_with_its_lowest_value_and_label_zero():
    image, label = torch.full((1, 4, 4, 4), 5.0), torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    image[0, 0, 0, 0] = -3.0
    patch = make(prob=0.0)({"image": image, "label": label})
    assert patch["image"].shape == (1, 6, 6, 6)
    assert torch.allclose(patch["image"][0, 1:5, 1:5, 1:5], image[0], atol=1e-4)
    assert torch.allclose(patch["image"][0, 0], torch.tensor(-3.0), atol=1e-4)
    assert patch["label"].sum() == 64 and patch["label"].dtype == torch.uint8
    assert not patch["label"][0, 5].any()


@pytest.mark.parametrize("depth", [1, 7])
def test_a_scan_of_one_slice_is_the_same_in_all_slices_of_the_patch(depth):
    """Also of a patch of one slice, as classifiers in 2-D have it, which a turn would leave outside of the scan."""
    image = torch.full((1, 40, 40, 1), -1.0)
    image[0, 8:32, 8:32] = 3.0
    options = {"rotate_degrees": 15, "shift": 0.0, "scale": (1.0, 1.0)}
    patch = make(size=(40, 40, depth), **options)({"image": image, "label": (image > 0).to(torch.uint8)})
    assert patch["label"].reshape(-1, depth).sum(0).min() > 0.9 * 24**2
    assert ((patch["image"] > 1) == (patch["label"] > 0)).float().mean() > 0.95


def test_against_scipy():
    """The same matrix through scipy's interpolation, the lowest value outside."""
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(14, 11, 13)).astype(np.float32)
    angle = np.deg2rad(12)
    linear = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0.1], [0, 0, 1]]) / 1.2
    centre, patch = np.array([6.0, 5.5, 5.0]), (9, 8, 16)
    matrix = torch.as_tensor(np.c_[linear, centre])
    ours = sample(torch.as_tensor(volume)[None], sampling_grid(matrix, volume.shape, patch), "bilinear")[0].numpy()
    offset = centre - linear @ ((np.array(patch) - 1) / 2)
    low = volume.min()
    scipys = ndimage.affine_transform(volume - low, linear, offset, patch, order=1, mode="grid-constant") + low
    assert np.abs(ours - scipys).max() < 1e-4


def test_scale_makes_organs_larger():
    """A ball of radius 5 at scale 1.3 has 1.3^3 times the volume."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(31.0) - 15] * 3, indexing="ij"))
    ball = (grid.norm(dim=0) < 5).to(torch.uint8)[None]
    options = {"rotate_degrees": 0, "shift": 0, "scale": (1.3, 1.3)}
    patch = RandCropAffined("label", (31, 31, 31), mode="nearest", **options).set_random_state(0)({"label": ball})["label"]
    assert patch.sum().item() / ball.sum().item() == pytest.approx(1.3**3, rel=0.05)


def test_shift_and_rotation_stay_within_their_ranges():
    transform = make(size=(10, 10, 10), rotate_degrees=15, shift=0.1, scale=(0.7, 1.3))
    for _ in range(50):
        matrix = transform.randomize((10, 10, 10)).numpy()
        zoom = np.cbrt(np.linalg.det(matrix[:, :3]))
        assert 1 / 1.3 - 1e-6 <= zoom <= 1 / 0.7 + 1e-6
        # three rotations of 15 degrees turn by less than 45 in all
        assert np.trace(matrix[:, :3] / zoom) >= 1 + 2 * np.cos(np.deg2rad(45))
        assert np.abs(matrix[:, 3] - 4.5).max() <= 1.0


def test_image_and_label_are_cut_alike_and_the_seed_decides():
    mark = torch.zeros(1, 20, 20, 20)
    mark[0, 8:13, 8:13, 8:13] = 1.0
    first = make((12, 12, 12))({"image": mark, "label": mark.to(torch.uint8)})
    again = make((12, 12, 12))({"image": mark, "label": mark.to(torch.uint8)})
    assert torch.equal(first["image"], again["image"])
    overlap = ((first["image"] > 0.5) == (first["label"] > 0)).float().mean()
    assert overlap > 0.95 and first["label"].any()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="spatial_size"):
        RandCropAffined("image", (4, 4))
    with pytest.raises(ValueError, match="scale"):
        RandCropAffined("image", (4, 4, 4), scale=(0, 1))
    with pytest.raises(ValueError, match="shape"):
        make()({"image": IMAGE, "label": IMAGE[:, :5]})


@pytest.mark.parametrize(("key", "image", "label"), [("image", (1, 0, 4, 4), (1, 8, 8, 8)), ("label", (1, 8, 8, 8), (1, 0, 0, 0))])
def test_an_item_without_voxels_is_refused_by_name(key, image, label):
    with pytest.raises(UserError, match=rf"^{key}: has no voxel, its shape is \(1, 0, .*cropped everything away") as caught:
        make()({"image": torch.zeros(image), "label": torch.zeros(label)})
    assert "\n" not in str(caught.value)


def test_patches_are_made_where_they_are_asked_for():
    """On the meta device, which has no values: shapes, types and the place are those of the patches."""
    patch = make(device="meta")({"image": IMAGE, "label": IMAGE.to(torch.uint8)})
    assert {key: (value.device.type, tuple(value.shape), value.dtype) for key, value in patch.items()} == {
        "image": ("meta", (1, 6, 6, 6), torch.float32),
        "label": ("meta", (1, 6, 6, 6), torch.uint8),
    }
    assert make()({"image": IMAGE, "label": IMAGE})["image"].device.type == "cpu"
