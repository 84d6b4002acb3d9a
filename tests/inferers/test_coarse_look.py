"""CoarseLook: labels of a scan on a coarse grid, as the network that was trained on that grid gives them."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from bundle.inferers import CoarseLook
from bundle.transforms import NormalizeBodyd, ResampleSpacingd


class Bright(torch.nn.Module):
    """Channel 1 where the image is two standard deviations above the body's mean; notes what it saw."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen, self.learns = x, self.training
        return torch.cat([torch.zeros_like(x), x - 2], 1)


def test_labels_lie_on_the_coarse_grid_where_the_scan_is_bright() -> None:
    """Voxels of 2 mm, looked at in voxels of 6 mm: coarse voxel i is voxel 3 i."""
    affine = torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-30.0, 10.0, 5.0])
    image = torch.full((1, 60, 54, 48), -1000.0)
    image[:, 6:54, 6:48] = 0.0
    image[0, 18:28, 15:25, 12:22] = 250.0
    network = Bright().train()
    labels = CoarseLook(network, spacing=(6.0, 6.0, 6.0), precision="fp32")(MetaTensor(image, affine=affine))
    assert labels.dtype == torch.uint8 and labels.shape == (1, 21, 19, 17)
    np.testing.assert_allclose(labels.affine, np.diag([6.0, 6.0, 6.0, 1.0]) + np.pad(affine[:3, 3:].numpy(), ((0, 1), (3, 0))))
    expected = torch.zeros(21, 19, 17, dtype=torch.uint8)
    expected[6:10, 5:9, 4:8] = 1
    assert torch.equal(labels.as_tensor()[0], expected)
    assert not network.learns, "evaluation mode, and afterwards as it was"
    assert network.training


def test_the_network_sees_what_training_with_this_spacing_shows_it() -> None:
    generator = torch.Generator().manual_seed(2)
    image = MetaTensor(torch.randn(1, 40, 36, 50, generator=generator) * 60, affine=torch.diag(torch.tensor([1.5, 1.5, 2.0, 1.0])))
    network = Bright()
    CoarseLook(network, spacing=(4.0, 4.0, 4.0))(image)
    expected = NormalizeBodyd("image")(ResampleSpacingd("image", (4.0, 4.0, 4.0))({"image": image}))["image"]
    # what is smaller than the network's least size is padded by the inferer
    inner = [slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(network.seen.shape[2:], expected.shape[1:], strict=True)]
    torch.testing.assert_close(network.seen[(0, slice(None), *inner)], expected.as_tensor())
