"""Half precision: kernels alone, loaded as float32, nothing that is too large."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.networks.weights import load_weights
from bundle.networks.weights.half import half_precision, in_half_precision


def test_kernels_are_rounded_and_the_rest_stays() -> None:
    state = {
        "conv.weight": torch.full((1, 1), 1 + 2**-11 + 2**-12),
        "norm.bias": torch.tensor([1e-9]),
        "norm.num_batches_tracked": torch.tensor(3),
    }
    halved = in_half_precision(state)
    assert halved["conv.weight"].dtype == torch.float16
    assert halved["conv.weight"].item() == 1 + 2**-10, "the nearest of the steps of 2^-10"
    assert halved["norm.bias"].dtype == torch.float32 and halved["norm.bias"].item() == state["norm.bias"].item()
    assert halved["norm.num_batches_tracked"].item() == 3


def test_a_network_loads_them_as_float32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = AttentionUnet(2, 1, 2, (4, 8), num_gates=1).eval()
    torch.save(network.state_dict(), tmp_path / "whole.pt")
    half_precision(str(tmp_path / "whole.pt"), str(tmp_path / "half.pt"))
    other = load_weights(AttentionUnet(2, 1, 2, (4, 8), num_gates=1), tmp_path / "half.pt")
    assert all(value.dtype != torch.float16 for value in other.state_dict().values())
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        expected, found = network(x), other(x)
    assert 0 < (expected - found).abs().max() < 2e-3 * expected.abs().max()


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(UserError, match=r"mine\.pt: w holds values beyond 65504"):
        in_half_precision({"w": torch.full((2, 2), 7e4)}, "mine.pt")
