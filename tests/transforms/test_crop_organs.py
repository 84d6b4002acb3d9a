"""CropOrgansd crops to what a coarse look finds, in millimetres, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from bundle.errors import UserError
from bundle.transforms import CropOrgansd, NormalizeBodyd, ResampleSpacingd
from bundle.transforms.crop_organs import COARSE_LOOK, NOTHING_FOUND, look_notes
from bundle.transforms.normalize_body import AROUND
from bundle.transforms.restore_labels import restore_labels

STRUCTURES = {"pancreas": 1, "spleen": 2}


def scan(shape: tuple[int, int, int] = (60, 50, 100), step: float = 2.0) -> MetaTensor:
    """Tissue of 40 HU whose corner voxel is at (-10, -20, 30) mm."""
    affine = torch.diag(torch.tensor([step, step, step, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-10.0, -20.0, 30.0])
    image = MetaTensor(torch.full((1, *shape), 40.0), affine=affine)
    image.meta |= {"original_affine": affine, "spatial_shape": np.array(shape)}
    return image


def look(*boxes: tuple[int, tuple[slice, slice, slice]], step: int = 3):
    """A look that sees labels in boxes of coarse voxels, each of which holds `step` voxels of the image."""

    def labels(image: MetaTensor) -> MetaTensor:
        found = torch.zeros((1, *(-(-n // step) for n in image.shape[1:])), dtype=torch.uint8)
        for value, box in boxes:
            found[(0, *box)] = value
        affine = image.affine.clone()
        affine[:3, :3] *= step
        affine[:3, 3] += image.affine[:3, :3] @ torch.full((3,), (step - 1) / 2, dtype=torch.float64)
        return MetaTensor(found, affine=affine)

    return labels


SPLEEN = (2, (slice(5, 8), slice(4, 6), slice(10, 12)))


def test_the_box_is_that_of_the_coarse_voxels_and_the_margin() -> None:
    """Coarse voxels 5 to 7 are voxels 15 to 23 of the image; 4 mm are two voxels on either side."""
    done = CropOrgansd("image", look=look(SPLEEN), margin=4.0)({"image": scan()})["image"]
    assert done.shape == (1, 24 - 15 + 4, 18 - 12 + 4, 36 - 30 + 4)
    assert done.affine[:3, 3].tolist() == [-10 + 2 * 13, -20 + 2 * 10, 30 + 2 * 28]
    assert done.meta[COARSE_LOOK] == {"sides": [[True, True]] * 3}


def test_z_alone_keeps_the_whole_cross_section() -> None:
    done = CropOrgansd("image", look=look(SPLEEN), box="z", margin=4.0, least_length=0)({"image": scan()})["image"]
    assert done.shape == (1, 60, 50, 10) and done.affine[2, 3] == 30 + 2 * 28
    assert done.meta[COARSE_LOOK] == {"sides": [[False, False], [False, False], [True, True]]} and AROUND not in done.meta


def test_a_margin_ends_at_the_scan() -> None:
    at_the_end = (2, (slice(0, 3), slice(0, 4), slice(30, 34)))
    done = CropOrgansd("image", look=look(at_the_end), margin=8.0)({"image": scan()})["image"]
    assert done.shape == (1, 9 + 4, 12 + 4, 100 - 90 + 4)
    assert done.meta[COARSE_LOOK] == {"sides": [[False, True], [False, True], [True, False]]}


def test_small_pieces_do_not_widen_the_box() -> None:
    """12 voxels of spleen, and one far away: less than a tenth. Of the pancreas this one voxel is all there is."""
    far = (slice(18, 19), slice(15, 16), slice(30, 31))
    one = CropOrgansd("image", look=look(SPLEEN, (2, far)), margin=0.0)({"image": scan()})["image"]
    other = CropOrgansd("image", look=look(SPLEEN, (1, far)), margin=0.0)({"image": scan()})["image"]
    assert one.shape == (1, 9, 6, 6) and other.shape == (1, 57 - 15, 48 - 12, 93 - 30)


def test_a_scan_in_which_nothing_is_found_stays_whole_and_says_so() -> None:
    image = scan()
    done = CropOrgansd("image", look=look())({"image": image})["image"]
    assert torch.equal(done, image) and done.meta[COARSE_LOOK] == NOTHING_FOUND and COARSE_LOOK not in image.meta
    notes = look_notes(np.zeros((60, 50, 100), np.uint8), done, STRUCTURES)
    assert notes == [(0.5, "the coarse look found no structure, so the whole scan was segmented")]


def test_a_box_that_saves_little_is_not_cut() -> None:
    """Heights 3 to 83 of 100 save less than a fifth, heights 3 to 80 more."""
    most = (slice(0, 2), slice(0, 2), slice(1, 28))
    image = scan()
    assert CropOrgansd("image", look=look((1, most)), box="z", margin=0.0, least_length=0)({"image": image})["image"].shape == image.shape
    less = (*most[:2], slice(1, 27))
    done = CropOrgansd("image", look=look((1, less)), box="z", margin=0.0, least_length=0)({"image": image})["image"]
    assert done.shape == (1, 60, 50, 78)


def test_a_scan_without_length_is_not_looked_at_along_z() -> None:
    """100 voxels of 2 mm: shorter than 201 mm, and not than 199."""

    def never(image: MetaTensor) -> MetaTensor:
        raise AssertionError("looked at")

    image = scan()
    assert torch.equal(CropOrgansd("image", look=never, box="z", least_length=201.0)({"image": image})["image"], image)
    for options in ({"box": "z", "least_length": 199.0}, {"box": "xyz", "least_length": 201.0}):
        with pytest.raises(AssertionError):
            CropOrgansd("image", look=never, **options)({"image": image})


def test_a_structure_at_a_side_of_the_box_is_noted_where_the_scan_goes_on() -> None:
    """The box is heights 30 to 35 of the scan; as in a label map, the source's grid may have another order of axes."""
    image = scan()
    image.meta["original_affine"] = image.affine.clone()
    done = Compose([CropOrgansd("image", look=look(SPLEEN), box="z", margin=0.0, least_length=0), ResampleSpacingd("image", 2.0)])(
        {"image": image}
    )["image"]
    labels = np.zeros((60, 50, 100), np.uint8)
    labels[0:5, 0:5, 31:36], labels[20:25, 20:25, 32:34] = 2, 1
    assert look_notes(labels, done, STRUCTURES) == [(0.7, "spleen: reaches the border of the box (upper end), may be cut off")]
    labels[:, :, 35] = 0
    assert look_notes(labels, done, STRUCTURES) == []
    assert look_notes(labels, image, STRUCTURES) == [] and look_notes(labels, done.as_tensor(), STRUCTURES) == []


def test_outside_the_box_the_label_map_is_background() -> None:
    image = scan((30, 30, 60))
    step = Compose([CropOrgansd("image", look=look(SPLEEN, step=2), margin=0.0), ResampleSpacingd("image", 2.0)])
    done = step({"image": image})["image"]
    assert done.shape == (1, 6, 4, 4)
    logits = torch.stack([torch.zeros(6, 4, 4), torch.ones(6, 4, 4)])
    labels = restore_labels(logits, done)
    expected = np.zeros((30, 30, 60), np.uint8)
    expected[10:16, 8:12, 20:24] = 1
    np.testing.assert_array_equal(labels, expected)
    back = Invertd(keys="pred", transform=step, orig_keys="image", nearest_interp=True)({"image": done, "pred": MetaTensor(logits[1:])})[
        "pred"
    ]
    np.testing.assert_array_equal(np.asarray(back[0]), expected)


def test_a_tilted_grid_keeps_what_the_look_found() -> None:
    """The coarse grid is upright, the scan's is sheared: the box holds every voxel that lies in the coarse box."""
    image = scan((40, 40, 40))
    image.affine[1, 2] = 0.8
    found = torch.zeros((1, 20, 30, 20), dtype=torch.uint8)
    found[0, 5:9, 12:15, 8:12] = 1
    affine = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-10.0, -20.0, 30.0])
    crop = CropOrgansd("image", look=lambda _: MetaTensor(found, affine=affine), margin=0.0)
    done = crop({"image": image})["image"]
    inside = np.zeros((40, 40, 40), bool)
    for index in np.ndindex(inside.shape):
        point = (image.affine.numpy() @ [*index, 1.0])[:3]
        coarse = np.rint((point - affine[:3, 3].numpy()) / 4).astype(int)
        inside[index] = all(low <= c < high for c, low, high in zip(coarse, (5, 12, 8), (9, 15, 12), strict=True))
    start = np.rint(np.linalg.solve(image.affine.numpy(), done.affine.numpy()[:, 3])[:3]).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(start, done.shape[1:], strict=True))
    assert inside.any() and inside[box].sum() == inside.sum() and done.numel() < image.numel() / 8


def test_intensities_are_normalised_by_the_body_at_the_height_of_the_box() -> None:
    """Half of the slab is 0 HU and half 100: mean 50, sd 50. The box holds the half of 100 HU alone, and becomes 1."""
    image = scan((60, 50, 100))
    image[0, :30], image[0, 30:], image[0, :, :, 60:] = 0.0, 100.0, 250.0
    brighter = (1, (slice(12, 16), slice(4, 12), slice(10, 14)))
    steps = Compose([CropOrgansd("image", look=look(brighter), margin=0.0), NormalizeBodyd("image")])
    done = steps({"image": image})["image"]
    assert done.shape == (1, 12, 24, 12)
    torch.testing.assert_close(done.as_tensor(), torch.ones(1, 12, 24, 12))
    assert AROUND not in done.meta


def test_an_unknown_box_is_refused() -> None:
    with pytest.raises(UserError, match="use xyz or z"):
        CropOrgansd("image", look=look(), box="xy")
