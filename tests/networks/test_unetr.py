"""MONAI's UNETR takes one size, and says so."""

from __future__ import annotations

import pytest
import torch
from monai.networks import nets

from bundle.errors import UserError
from bundle.networks.unetr import UNETR

SMALL = {"hidden_size": 12, "mlp_dim": 12, "feature_size": 4, "num_heads": 3}


def test_the_one_size_it_takes_and_another():
    torch.manual_seed(0)
    network = UNETR(1, 2, [16, 32, 16], **SMALL).eval()
    torch.manual_seed(0)
    theirs = nets.UNETR(1, 2, [16, 32, 16], **SMALL).eval()
    x = torch.randn(1, 1, 16, 32, 16)
    with torch.no_grad():
        assert network.window == (16, 32, 16) and torch.equal(network(x), theirs(x))
        with pytest.raises(UserError, match=r"takes patches of \[16, 32, 16\] only, this one has \[32, 32, 16\]"):
            network(torch.zeros(1, 1, 32, 32, 16))
