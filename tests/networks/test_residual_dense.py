"""Residual and dense blocks against plain formulas, and in the network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.residual_dense import DenseConvs, ResidualConvs
from bundle.networks.weights.transfer import transfer


def with_statistics(network: torch.nn.Module) -> torch.nn.Module:
    """In evaluation mode, with batch norms that do something."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    return network.eval()


def conv_norm(part: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution and its batch norm by plain PyTorch."""
    norm = part.norm
    x = F.conv3d(x, part.conv.weight, part.conv.bias, padding=part.conv.weight.shape[-1] // 2)
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def test_residual_is_the_formula():
    torch.manual_seed(0)
    block, x = with_statistics(ResidualConvs(3, 2, 3)), torch.randn(1, 2, 4, 5, 6)
    expected = F.relu(conv_norm(block.second, F.relu(conv_norm(block.first, x))) + conv_norm(block.shortcut, x))
    with torch.no_grad():
        assert torch.allclose(block(x), expected, atol=1e-5)
    assert (block(x) >= 0).all() and block.shortcut.conv.weight.shape == (3, 2, 1, 1, 1)


def test_dense_is_the_formula():
    torch.manual_seed(0)
    block, x = with_statistics(DenseConvs(3, 2, 3)), torch.randn(1, 2, 4, 5, 6)
    inner = F.relu(conv_norm(block.first, x))
    with torch.no_grad():
        assert torch.allclose(block(x), F.relu(conv_norm(block.second, torch.cat([x, inner], 1))), atol=1e-5)
    assert block.second.conv.weight.shape[1] == 2 + 3


@pytest.mark.parametrize("blocks", ["residual", "dense"])
def test_gates_start_open_in_the_network(blocks):
    """As with plain blocks: the output of the U-Net of the same blocks, to 1e-5, in training mode nearly."""
    torch.manual_seed(0)
    arguments = {"blocks": blocks, "encoder_gates": True, "decoder_gates": True}
    network = AttentionUnet(3, 1, 3, (4, 6, 8, 8), **arguments)
    twin = with_statistics(AttentionUnet(3, 1, 3, (4, 6, 8, 8), num_gates=0, blocks=blocks))
    transfer(network, twin.state_dict())
    x = torch.randn(2, 1, 32, 32, 32)
    with torch.no_grad():
        expected, actual = twin(x), network.eval()(x)
        assert (expected - actual).abs().max() <= 1e-5 * expected.abs().max()
        expected, actual = twin.train()(x), network.train()(x)
    assert torch.corrcoef(torch.stack([expected.flatten(), actual.flatten()]))[0, 1] > 0.9


@pytest.mark.parametrize("blocks", ["residual", "dense"])
def test_folding_and_torchscript(blocks):
    torch.manual_seed(0)
    network = with_statistics(AttentionUnet(3, 1, 3, (4, 6, 8), blocks=blocks, init="authors"))
    folded, x = fold_batch_norm(network), torch.randn(1, 1, 20, 16, 24)
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    with torch.no_grad(), torch.jit.optimized_execution(False):
        expected = network(x)
        for other in (folded, torch.jit.script(network), torch.jit.script(folded)):
            assert (other(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_default_is_plain_as_before():
    """Neither names nor shapes of the default's weights depend on what can be chosen besides."""
    names = list(AttentionUnet(3, 1, 3, (4, 6, 8)).state_dict())
    assert "encoder.0.0.conv.weight" in names and "decoder.0.first.conv.weight" in names
    assert not [name for name in names if name.startswith(("decoder_gates.", "encoder_gates."))]


def test_every_parameter_learns():
    torch.manual_seed(0)
    for blocks in ("residual", "dense"):
        network = AttentionUnet(3, 1, 2, (4, 4, 6), blocks=blocks, init="authors", attention_features=True).train()
        network(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
        assert all(parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0 for parameter in network.decoder.parameters())
