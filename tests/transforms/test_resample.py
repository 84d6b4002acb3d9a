"""ResampleSpacingd: MONAI's spacing, strings beside the image, sheared grids made upright."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Spacingd

from bundle.errors import UserError
from bundle.transforms import ResampleSpacingd
from bundle.transforms.resample import is_sheared


def ramp(affine: np.ndarray, shape: tuple[int, int, int] = (20, 18, 16)) -> MetaTensor:
    """An image that holds 1 x + 2 y + 3 z of its world coordinates in mm: linear interpolation reproduces it."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return MetaTensor(torch.as_tensor(world @ np.array([1.0, 2.0, 3.0]), dtype=torch.float32)[None], affine=torch.as_tensor(affine))


def oblique() -> np.ndarray:
    """Axes swapped, one of them reversed, and turned by 0.3 radians about z."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag([-0.75, 0.8, 5.0]))[:, [2, 0, 1]]
    affine[:3, 3] = 5, -7, 30
    return affine


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    ("affine", "shape"),
    [
        (np.diag([0.75, 0.75, 1.5, 1.0]), (50, 41, 30)),
        (np.diag([3.0, 3.0, 7.0, 1.0]), (9, 8, 3)),
        (np.diag([4.0, 4.0, 4.0, 1.0]), (1, 9, 7)),
        (np.diag([2.0, 2.0, 2.0, 1.0]), (6, 5, 4)),
        (oblique(), (9, 40, 31)),
    ],
    ids=["fine", "coarse", "one voxel", "as it is", "oblique"],
)
def test_equals_monai_and_its_inverse(affine: np.ndarray, shape: tuple[int, int, int], dtype: type, order: str) -> None:
    """MONAI's in float64, as its float32 errs by 0.02 HU on this noise of 300 HU."""
    values = np.asarray(np.random.default_rng(0).normal(0, 300, shape).astype(dtype), order=order)
    image = MetaTensor(torch.from_numpy(values), affine=torch.as_tensor(affine))[None]
    theirs, ours = Spacingd("image", pixdim=2.0, dtype=torch.float64), ResampleSpacingd("image", pixdim=2.0)
    done = [transform({"image": image})["image"] for transform in (theirs, ours)]
    assert done[1].dtype == torch.float32 and torch.equal(done[0].affine, done[1].affine)
    assert torch.allclose(done[1].as_tensor().double(), done[0].as_tensor().double(), atol=1e-3, rtol=0)
    assert torch.equal(image.affine, torch.as_tensor(affine)) and not image.pending_operations and not image.applied_operations
    back = [
        Invertd("pred", Compose([transform]), "image", nearest_interp=False)({"image": there, "pred": there.clone()})["pred"]
        for transform, there in zip((theirs, ours), done, strict=True)
    ]
    assert back[1].shape == image.shape and torch.equal(back[0].affine, back[1].affine)
    assert torch.allclose(back[1].double(), back[0].double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_turned_grid_that_32_bits_round_is_looked_at_in_the_same_places(mode: str) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 300, (1, 9, 40, 31)).astype(np.float32))
    rounded = torch.as_tensor(oblique().astype(np.float32)).double()
    exact, near = (MetaTensor(values, affine=affine) for affine in (torch.as_tensor(oblique()), rounded))
    transform = ResampleSpacingd("image", pixdim=2.0, mode=mode)
    one, other = (transform({"image": image})["image"] for image in (exact, near))
    assert one.shape == other.shape and torch.allclose(one.affine, other.affine, atol=1e-4)
    assert (one.as_tensor() - other.as_tensor()).abs().mean() < 0.01
    assert torch.allclose(transform.inverse({"image": other})["image"].affine, rounded)


def test_survives_the_string_of_monai_label() -> None:
    data = {"image": ramp(np.diag([1.5, 1.0, 3.0, 1.0])), "image_path": "/somewhere/scan.nii.gz"}
    data["image"].meta["filename_or_obj"] = "/somewhere/scan.nii.gz"
    ours = ResampleSpacingd("image", pixdim=2.0)(data)
    assert ours["image"].shape == (1, 15, 10, 24) and ours["image_path"] == "/somewhere/scan.nii.gz"


@pytest.mark.parametrize("rounding", [0.0, 2e-4])
def test_image_and_label_together_are_those_of_monai(rounding: float) -> None:
    """The label's header may round the spacing otherwise: its grid is that of the image all the same."""
    affine = torch.diag(torch.tensor([1.5, 0.8, 5.0, 1.0], dtype=torch.float64))
    image = MetaTensor(100 * torch.rand(1, 20, 18, 9), affine=affine)
    label = MetaTensor(torch.randint(0, 4, (1, 20, 18, 9), dtype=torch.uint8), affine=affine * (1 + rounding))
    options = {"keys": ["image", "label"], "pixdim": 2.0, "mode": ["bilinear", "nearest"], "dtype": torch.float32}
    theirs, ours = (kind(**options)({"image": image, "label": label}) for kind in (Spacingd, ResampleSpacingd))
    assert torch.equal(ours["label"].as_tensor(), theirs["label"].as_tensor())
    assert torch.allclose(ours["label"].affine, theirs["label"].affine, rtol=0, atol=1e-12)
    assert torch.allclose(ours["image"].as_tensor(), theirs["image"].as_tensor(), atol=0.01)
    assert ours["image"].shape == ours["label"].shape


@pytest.mark.parametrize("tilt", [0.0, 1.5])
def test_a_label_whose_header_is_rounded_otherwise_gets_the_size_of_its_image(tilt: float) -> None:
    """20 slices of 5 mm are 48.5 of 2 mm. With 5.003 mm, which the check takes for the same grid, the label had 49 and the image 48."""
    affine = np.diag([0.7, 0.7, 5.0, 1.0])
    affine[1, 2] = tilt
    rounded = affine.copy()
    rounded[2, 2] = 5.003
    image, label = ramp(affine, (30, 31, 20)), ramp(rounded, (30, 31, 20))
    out = ResampleSpacingd(["image", "label"], 2.0, mode=["bilinear", "nearest"])({"image": image, "label": label})
    alone = [ResampleSpacingd("image", 2.0)({"image": one})["image"].shape[3] for one in (image, label)]
    assert out["image"].shape == out["label"].shape and (tilt or alone == [48, 49])
    other = ResampleSpacingd(["image", "label"], 2.0)({"image": image, "label": ramp(np.diag([0.7, 0.7, 4.0, 1.0]), (30, 31, 20))})
    assert other["label"].shape[3] == 39, "another grid is another one"


def test_sheared_grid_becomes_upright_with_each_value_at_its_place() -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.5  # a gantry tilted by 14 degrees
    source = ramp(affine)
    assert is_sheared(affine) and not is_sheared(np.diag([1.0, 2.0, 3.0, 1.0]))
    transform = ResampleSpacingd("image", pixdim=2.0)
    done = transform({"image": source})["image"]
    upright = done.affine.numpy()
    assert not is_sheared(upright)
    assert np.allclose(np.linalg.norm(upright[:3, :3], axis=0), 2.0)
    expected = ramp(upright, tuple(done.shape[1:]))
    # outside the sheared scan the border's values go on: compare where the source has voxels
    index = np.linalg.inv(affine) @ upright
    grid = np.stack([*np.meshgrid(*[np.arange(n) for n in done.shape[1:]], indexing="ij"), np.ones(done.shape[1:])], -1) @ index.T
    inside = ((grid[..., :3] >= 0) & (grid[..., :3] <= np.array(source.shape[1:]) - 1)).all(-1)
    assert inside.mean() > 0.4
    assert np.allclose(done.numpy()[0][inside], expected.numpy()[0][inside], atol=1e-3)
    inverted = Invertd("pred", transform, "image", nearest_interp=False)({"image": done, "pred": done.clone()})["pred"]
    assert inverted.shape == source.shape
    assert np.allclose(inverted.numpy()[0, 5:15, 5:13, 4:12], source.numpy()[0, 5:15, 5:13, 4:12], atol=0.05)


@pytest.mark.parametrize("tilt", [0.0, 3.0])
def test_a_grid_that_would_not_fit_into_memory_is_refused_before_it_is_made(tilt: float) -> None:
    """20x18x16 voxels of 20x20x25 mm become 191x171x189 of 2 mm: at 16 bytes 0.099 GB."""
    affine = np.diag([20.0, 20.0, 25.0, 1.0])
    affine[1, 2] = tilt
    image = ramp(affine)
    image.meta["filename_or_obj"] = "scan.nii.gz"
    with pytest.raises(UserError, match=r"scan\.nii\.gz: its voxels of 20x20x25.* mm become .* GB, more than memory_gb, 0\.05"):
        ResampleSpacingd("image", 2.0, memory_gb=0.05)({"image": image})
    assert ResampleSpacingd("image", 20.0, memory_gb=0.05)({"image": image})["image"].shape[0] == 1
