"""What passes through a skip connection, against concatenation and by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bundle.networks.skips import BareSkip, GatedSkip, OpenSkip


class Times(nn.Module):
    """A gate of one coefficient everywhere."""

    coefficients_per_voxel = 2

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.alpha, torch.full_like(x[:, :1], self.alpha)


G = torch.zeros(1, 4, 2, 2)


def test_an_open_skip_is_the_skip():
    x = torch.randn(1, 3, 4, 4)
    found, coefficients = OpenSkip()(x, G)
    assert found is x and coefficients == []


def test_gates_side_by_side_are_concatenated_and_combined():
    torch.manual_seed(0)
    skip = GatedSkip([Times(0.5), Times(2.0)], 2, 3).eval()
    x = torch.randn(1, 3, 4, 4)
    found, coefficients = skip(x, G)
    expected = torch.relu(skip.combine.norm(skip.combine.conv(torch.cat([0.5 * x, 2 * x], 1))))
    assert torch.allclose(found, expected, atol=1e-5) and expected.std() > 0.01
    assert [alpha.unique().tolist() for alpha in coefficients] == [[0.5], [2.0]] and skip.coefficients_per_voxel == 4


def test_bare_products_are_averaged():
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(BareSkip([Times(0.5)])(x, G)[0], 0.5 * x)
    found, coefficients = BareSkip([Times(0.5), Times(0.25)])(x, G)
    assert torch.allclose(found, 0.375 * x) and len(coefficients) == 2 and BareSkip([Times(1.0)]).coefficients_per_voxel == 2
