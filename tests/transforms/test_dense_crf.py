"""DenseCRFd against sums over all pairs, and two voxels by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.special import softmax

from bundle.transforms import DenseCRFd, NormalizeBodyd
from bundle.transforms.normalize_body import HU_SD


def image(values: torch.Tensor, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> MetaTensor:
    return MetaTensor(values[None], affine=torch.diag(torch.tensor([*spacing, 1.0])))


def refined(logits: torch.Tensor, hu: MetaTensor, **options: float) -> torch.Tensor:
    return DenseCRFd("pred", **options)({"pred": logits, "image": hu})["pred"]


def test_two_voxels_by_hand() -> None:
    """Of six neighbours at 2 mm one is there, so a weight of 6 is 1 for it. softmax(0, 2) is (0.1192, 0.8808)."""
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]]).reshape(2, 2, 1, 1)
    options = {"radius": 2.0, "iterations": 1, "smoothness": 6.0, "appearance": 0.0}
    found = refined(logits, image(torch.zeros(2, 1, 1)), **options)
    expected = torch.tensor([[0.5, 0.1192], [2.5, 0.8808]]).reshape(2, 2, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    # one standard deviation of HU between the two: exp(-1/2) = 0.6065 of the message
    apart = image(torch.tensor([0.0, 20.0]).reshape(2, 1, 1))
    found = refined(logits, apart, **{**options, "smoothness": 0.0, "appearance": 6.0, "sigma_hu": 20.0})
    expected = torch.tensor([[0.3033, 0.0723], [2.3033, 0.5342]]).reshape(2, 2, 1, 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 2.0, 3.0)])
def test_the_mean_field_is_that_of_all_pairs(spacing: tuple[float, float, float]) -> None:
    """By numpy, over the matrix of all pairs of 60 voxels, of which those within the radius count."""
    rng = np.random.default_rng(1)
    logits, hu = rng.normal(0, 1, (3, 5, 4, 3)), rng.normal(0, 30, (5, 4, 3))
    places = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(hu.shape, spacing, strict=True)), indexing="ij"), -1).reshape(-1, 3)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    near = (distance <= 4.5) & (distance > 0)
    place = np.exp(-0.5 * (distance / 3) ** 2) * near
    around = [np.array(i) * spacing for i in np.ndindex(9, 9, 9)]
    lengths = np.array([np.linalg.norm(at - np.array(spacing) * 4) for at in around])
    total = np.exp(-0.5 * (lengths[(lengths <= 4.5) & (lengths > 0)] / 3) ** 2).sum()
    kernel = place / total * (0.7 + 1.5 * np.exp(-0.5 * ((hu.ravel()[:, None] - hu.ravel()[None]) / 25) ** 2))
    unary = logits.reshape(3, -1)
    expected = unary
    for _ in range(3):
        expected = unary + softmax(expected, axis=0) @ kernel
    options = {"radius": 4.5, "sigma_mm": 3.0, "sigma_hu": 25.0, "smoothness": 0.7, "appearance": 1.5, "iterations": 3}
    found = refined(torch.tensor(logits), image(torch.tensor(hu), spacing), **options)
    torch.testing.assert_close(found, torch.tensor(expected.reshape(logits.shape)), atol=1e-5, rtol=0)


def test_a_hole_closes_and_an_edge_of_the_image_stays() -> None:
    """Left half 40 HU, right half 120 HU. The network takes the right half, but for one voxel, and one voxel too many on the left."""
    hu = torch.full((12, 9, 9), 40.0)
    hu[6:] = 120.0
    logits = torch.zeros(2, 12, 9, 9)
    logits[1] = torch.where(hu > 100, 1.0, -1.0)
    logits[1, 8, 4, 4], logits[1, 3, 4, 4] = -0.5, 0.5
    labels = refined(logits, image(hu)).argmax(0)
    assert torch.equal(labels, (hu > 100).long())
    assert torch.equal(refined(logits, image(hu), strength=0.0), logits)


def test_hu_of_a_normalised_image_are_its_own() -> None:
    """What `NormalizeBodyd` has divided by the standard deviation counts in HU all the same."""
    generator = torch.Generator().manual_seed(3)
    hu = image(torch.randn(8, 8, 8, generator=generator) * 40 + 50)
    logits = torch.randn(2, 8, 8, 8, generator=generator)
    normal = NormalizeBodyd("image")({"image": hu})["image"]
    assert normal.meta[HU_SD] == pytest.approx(float(hu.as_tensor().std(correction=0)))
    torch.testing.assert_close(refined(logits, normal), refined(logits, hu), atol=1e-4, rtol=0)


def test_background_beyond_doubt_is_left_as_it_is() -> None:
    logits = torch.zeros(2, 30, 20, 20)
    logits[0] = 20.0
    assert refined(logits, image(torch.zeros(30, 20, 20))) is logits
    logits[1, 5, 5, 5] = 21.0
    found = refined(logits, image(torch.zeros(30, 20, 20)), radius=4.0)
    changed = (found != logits).any(0).nonzero()
    # two voxels of 2 mm on every side
    assert changed.min(0).values.tolist() == [3, 3, 3] and changed.max(0).values.tolist() == [7, 7, 7]
