"""Converted weights give the output of the authors' networks; their checkpoint files convert."""

from __future__ import annotations

import pytest
import torch
from reference_networks import AuthorsNetwork

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.networks.weights.authors import convert_authors, convert_name, convert_state_dict, network_arguments

CHANNELS = (4, 6, 8, 10, 12)


def authors_network(num_gates: int, align_corners: bool = False) -> AuthorsNetwork:
    """The reference with random weights and random running statistics."""
    torch.manual_seed(num_gates + 10 * align_corners)
    network = AuthorsNetwork(2, 3, CHANNELS, num_gates, align_corners)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.dim() == 1:
            value.data.normal_(1.0 if name.endswith(".1.weight") else 0.0, 0.3)
    return network


def ours(state_dict: dict, num_gates: int, align_corners: bool = False) -> AttentionUnet:
    network = AttentionUnet(3, 2, 3, CHANNELS, num_gates, align_corners=align_corners)
    network.load_state_dict(convert_state_dict(state_dict), strict=True)
    return network


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("num_gates", [0, 1, 2])
def test_converted_weights_give_the_authors_output(num_gates, align_corners, train):
    reference = authors_network(num_gates, align_corners).train(train)
    network = ours(reference.state_dict(), num_gates, align_corners).train(train)
    x = torch.randn(2, 2, 32, 48, 16)
    with torch.no_grad():
        expected, actual = reference(x), network(x)
    assert (expected - actual).abs().max() <= 1e-5 * expected.abs().max()


def test_training_moves_both_alike():
    """Gradients and the running statistics after a step agree, not the output alone."""
    reference = authors_network(2).train()
    network = ours({name: value.clone() for name, value in reference.state_dict().items()}, 2).train()
    x = torch.randn(2, 2, 32, 32, 32)
    for each in (reference, network):
        each(x).square().mean().backward()
    actual = {name: value for name, value in [*network.named_parameters(), *network.named_buffers()]}
    for name, value in [*reference.named_parameters(), *reference.named_buffers()]:
        twin = actual[convert_name(name)]
        if value.grad is None:
            assert torch.allclose(value, twin, rtol=1e-4, atol=1e-5), name
        else:  # the gradient of a bias before a batch norm is zero but for rounding
            assert (value.grad - twin.grad).abs().max() <= 1e-3 * value.grad.abs().max() + 1e-4, name


def test_conversion_reads_what_network_it_was():
    for num_gates in (0, 1, 2):
        arguments = network_arguments(convert_state_dict(authors_network(num_gates).state_dict()))
        assert arguments == {
            "spatial_dims": 3,
            "in_channels": 2,
            "out_channels": 3,
            "channels": list(CHANNELS),
            "num_gates": num_gates,
            "gating_conv": True,
        }


def test_old_checkpoints_of_parallel_training_convert():
    """torch 0.3 counted no batches, and data parallel networks put `module.` in front of every name."""
    reference = authors_network(1).eval()
    old = {f"module.{name}": value for name, value in reference.state_dict().items() if "num_batches" not in name}
    x = torch.randn(1, 2, 16, 16, 16)
    assert torch.allclose(ours(old, 1).eval()(x), reference(x), atol=1e-4)


def test_verb_converts_a_file(tmp_path, capsys):
    reference = authors_network(2).eval()
    torch.save(reference.state_dict(), tmp_path / "300_net_S.pth")
    convert_authors(str(tmp_path / "300_net_S.pth"), str(tmp_path / "new" / "model.pt"))
    network = AttentionUnet(3, 2, 3, CHANNELS).eval()
    network.load_state_dict(torch.load(tmp_path / "new" / "model.pt", weights_only=True), strict=True)
    x = torch.randn(1, 2, 16, 16, 16)
    assert torch.allclose(network(x), reference(x), atol=1e-4)
    assert '"num_gates": 2, "gating_conv": true' in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.pt"]


@pytest.mark.parametrize("content", [{"conv9.weight": torch.zeros(1)}, {"a": 1}, [1], {}])
def test_other_files_are_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"conv9.weight|holds no state dict"):
        convert_authors(str(tmp_path / "other.pth"), str(tmp_path / "out.pt"))
    assert not (tmp_path / "out.pt").exists()


def test_missing_weights_and_missing_files_are_refused(tmp_path):
    state_dict = authors_network(0).state_dict()
    del state_dict["up_concat2.conv.conv1.0.weight"]
    torch.save(state_dict, tmp_path / "part.pth")
    with pytest.raises(UserError, match=r"decoder\.2\.first\.conv\.weight"):
        convert_authors(str(tmp_path / "part.pth"), str(tmp_path / "out.pt"))
    with pytest.raises(UserError, match="no such file"):
        convert_authors(str(tmp_path / "absent.pth"), str(tmp_path / "out.pt"))
