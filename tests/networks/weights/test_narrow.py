"""Narrow networks from wide ones: which channels stay, and that what has no effect can go without a trace."""

from __future__ import annotations

import pytest
import torch

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.networks.weights import read_state_dict, write_state_dict
from bundle.networks.weights.narrow import narrow, narrowed

WIDE, FEW = [4, 6, 8], [2, 3, 4]


def trained(gates: int = 2) -> AttentionUnet:
    torch.manual_seed(0)
    network = AttentionUnet(channels=WIDE, num_gates=gates, init="authors").eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("gates", [0, 1, 2])
def test_the_narrow_network_computes_what_the_channels_that_stay_compute(gates: int) -> None:
    """Channels that nobody takes are the least important; without them the function is the same."""
    network = trained(gates)
    with torch.no_grad():
        for module in network.modules():
            # the outer channels of each feature: their batch norm makes them 0, so that whoever takes them adds nothing
            if isinstance(module, torch.nn.BatchNorm3d):
                half = module.num_features // 2
                module.weight[half:] = 0
                module.bias[half:] = 0
        for name, module in network.named_modules():
            if name.endswith((".theta", ".phi")):
                module.weight[module.weight.shape[0] // 2 :] = 0
                if module.bias is not None:
                    module.bias[module.weight.shape[0] // 2 :] = 0
    small = AttentionUnet(channels=FEW, num_gates=gates).eval()
    small.load_state_dict(narrowed(network.state_dict(), FEW))
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(small(image), network(image), atol=1e-5, rtol=1e-5)


def test_the_strongest_channels_stay() -> None:
    network = trained()
    with torch.no_grad():
        norm = network.encoder[0][0].norm
        norm.weight.copy_(torch.tensor([0.01, 5.0, 0.01, 5.0]))
        norm.bias.zero_()
    found = narrowed(network.state_dict(), FEW)
    torch.testing.assert_close(found["encoder.0.0.conv.weight"], network.state_dict()["encoder.0.0.conv.weight"][[1, 3]])
    torch.testing.assert_close(found["encoder.0.0.norm.running_var"], norm.running_var[[1, 3]])


def test_as_many_channels_leave_the_weights_as_they_are(tmp_path, capsys) -> None:
    state = trained().state_dict()
    write_state_dict(state, tmp_path / "wide.pt")
    narrow(str(tmp_path / "wide.pt"), str(tmp_path / "out.pt"), WIDE)
    found = read_state_dict(tmp_path / "out.pt")
    assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    assert "[4, 6, 8]" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [[2, 3], [2, 3, 9], [0, 3, 4]])
def test_more_channels_or_other_levels_are_one_line(channels: list[int]) -> None:
    with pytest.raises(UserError, match=r"--channels: .* for a network of \[4, 6, 8\]"):
        narrowed(trained().state_dict(), channels)


def test_another_network_is_one_line() -> None:
    with pytest.raises(UserError, match="not the weights of an AttentionUnet"):
        narrowed({"a": torch.ones(2)}, FEW, "model.pt")
    with pytest.raises(UserError, match="not the weights of an AttentionUnet"):
        narrowed(AttentionUnet(channels=WIDE, blocks="residual").state_dict(), FEW)
