"""CropBodyd finds the body and ignores air and the table."""

from __future__ import annotations

import torch
from monai.data import MetaTensor
from monai.transforms import Invertd

from bundle.transforms import CropBodyd


def scan(shape: tuple[int, int, int] = (64, 64, 48), spacing: float = 2.0) -> MetaTensor:
    """Air with a 40x30x48 body from (10, 20, 0), and a table of one voxel under it."""
    image = torch.full((1, *shape), -1000.0)
    image[0, 10:50, 20:50, :] = 40.0
    image[0, :, 56:57, :] = 100.0
    return MetaTensor(image, affine=torch.diag(torch.tensor([spacing, spacing, spacing, 1.0])))


def test_box_holds_the_body_with_its_margin_and_not_the_table() -> None:
    cropped = CropBodyd("image", margin=4.0, step=2.0)({"image": scan()})["image"]
    # 4 mm are 2 voxels, and one sample more on each side that the opening may have cost
    assert cropped.shape == (1, 46, 36, 48)
    assert cropped.affine[:3, 3].tolist() == [14.0, 34.0, 0.0]
    assert int((cropped == 40.0).sum()) == 40 * 30 * 48


def test_no_voxel_of_the_body_is_lost_on_a_coarse_grid() -> None:
    for step in (2.0, 4.0, 6.0, 8.0):
        cropped = CropBodyd("image", margin=0.0, step=step)({"image": scan()})["image"]
        assert int((cropped == 40.0).sum()) == 40 * 30 * 48


def test_label_gets_the_same_box_and_inversion_puts_it_back() -> None:
    label = MetaTensor((scan().as_tensor() > 0).float(), affine=scan().affine)
    crop = CropBodyd(["image", "label"])
    done = crop({"image": scan(), "label": label})
    assert done["label"].shape == done["image"].shape
    back = Invertd(keys="pred", transform=crop, orig_keys="image", nearest_interp=False)({**done, "pred": done["label"].clone()})["pred"]
    assert back.shape == (1, 64, 64, 48)
    assert torch.equal(back[0, 10:50, 20:50], label[0, 10:50, 20:50])


def test_air_alone_is_left_whole_and_small_scans_survive() -> None:
    air = MetaTensor(torch.full((1, 9, 8, 7), -1000.0))
    assert CropBodyd("image")({"image": air})["image"].shape == (1, 9, 8, 7)
    air[0, 4, 4, 3] = 0.0
    assert CropBodyd("image", margin=2.0)({"image": air})["image"].shape == (1, 7, 7, 7)
