"""ResampleSpacingd: MONAI's spacing, strings beside the image, sheared grids made upright."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd, Spacingd

from bundle.transforms import ResampleSpacingd
from bundle.transforms.resample import is_sheared


def ramp(affine: np.ndarray, shape: tuple[int, int, int] = (20, 18, 16)) -> MetaTensor:
    """An image that holds 1 x + 2 y + 3 z of its world coordinates in mm: linear interpolation reproduces it."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return MetaTensor(torch.as_tensor(world @ np.array([1.0, 2.0, 3.0]), dtype=torch.float32)[None], affine=torch.as_tensor(affine))


def test_equals_monai_and_survives_the_string_of_monai_label() -> None:
    affine = np.diag([1.5, 1.0, 3.0, 1.0])
    theirs = Spacingd("image", pixdim=2.0, dtype=torch.float32)({"image": ramp(affine)})["image"]
    data = {"image": ramp(affine), "image_path": "/somewhere/scan.nii.gz"}
    data["image"].meta["filename_or_obj"] = "/somewhere/scan.nii.gz"
    ours = ResampleSpacingd("image", pixdim=2.0)(data)
    assert torch.equal(ours["image"].as_tensor(), theirs.as_tensor())
    assert torch.equal(ours["image"].affine, theirs.affine)
    assert ours["image_path"] == "/somewhere/scan.nii.gz"


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
