"""Several networks as one: the mean of their logits, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bundle.networks.ensemble import Ensemble


class Constant(nn.Module):
    """A network of two classes that gives one value, in half precision."""

    bytes_per_voxel, out_channels, multiple = 10.0, 2, 16

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return (x.expand(-1, 2, *x.shape[2:]) * 0 + self.value).half()


def test_the_mean_of_the_logits_in_float32():
    networks = [Constant(value) for value in (1.0, 4.0, 10.0)]
    ensemble, x = Ensemble(networks), torch.zeros(1, 1, 2, 2)
    with torch.no_grad():
        logits = ensemble(x)
    assert logits.dtype == torch.float32 and logits.shape == (1, 2, 2, 2) and logits.unique().tolist() == [5.0]
    ensemble(x).sum().backward()
    assert [network.value.grad.item() for network in networks] == [pytest.approx(8 / 3, rel=1e-3)] * 3


def test_what_inferers_ask_is_that_of_the_first_and_the_logits_that_wait():
    ensemble = Ensemble([Constant(1.0), Constant(2.0)])
    assert (ensemble.multiple, ensemble.out_channels, ensemble.bytes_per_voxel) == (16, 2, 10 + 4 * 2)
    assert not hasattr(ensemble, "window")


def test_one_network_is_no_ensemble():
    with pytest.raises(ValueError, match="two networks or more"):
        Ensemble([Constant(1.0)])
