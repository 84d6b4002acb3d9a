"""TorchScript, ONNX and torch.compile give the network's output; state dicts hold tensors only."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.variants import GATES

SMALL = (3, 4, 5)


def network_and_image(**arguments):
    torch.manual_seed(0)
    network = AttentionUnet(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": SMALL, "init": "authors", **arguments})
    return network.eval(), torch.randn(1, 1, *[40, 33, 48][: network.spatial_dims])


@pytest.mark.parametrize(
    ("arguments", "folded"),
    [({}, False), ({}, True), ({"num_gates": 0, "spatial_dims": 2, "dropout": 0.1}, False), ({"classes": [2, 0]}, True)],
)
def test_torchscript(arguments, folded, tmp_path):
    network, x = network_and_image(**arguments)
    network = fold_batch_norm(network) if folded else network
    torch.jit.script(network).save(tmp_path / "network.ts")
    with torch.no_grad(), torch.jit.optimized_execution(False):
        loaded = torch.jit.load(tmp_path / "network.ts")
        assert torch.allclose(loaded(x), network(x), atol=1e-5)
        smaller = x[:, :, :17]  # sizes are not baked in
        assert torch.allclose(loaded(smaller), network(smaller), atol=1e-5)


@pytest.mark.parametrize("gate", GATES)
def test_torchscript_of_variants(gate):
    network, x = network_and_image(
        spatial_dims=2,
        num_gates=1,
        gate=gate,
        encoder_gates=True,
        decoder_gates=True,
        encoder_maps=True,
        attention_features=True,
        deep_supervision="auxiliary",
    )
    with torch.no_grad(), torch.jit.optimized_execution(False):
        assert torch.allclose(torch.jit.script(network)(x), network(x), atol=1e-5)


@pytest.mark.parametrize("folded", [pytest.param(False, marks=pytest.mark.slow), True])
def test_onnx(folded, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network, x = network_and_image()
    network = fold_batch_norm(network) if folded else network
    path = str(tmp_path / "network.onnx")
    torch.onnx.export(network, (x,), path, input_names=["image"], output_names=["logits"], dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"image": x.numpy()})
    with torch.no_grad():
        expected = network(x).numpy()
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


def test_traced_network():
    """What exporters trace takes plain layers, and gives the same."""
    network, x = network_and_image()
    with torch.no_grad():
        assert torch.allclose(torch.jit.trace(network, x)(x), network(x), atol=1e-5)


@pytest.mark.slow
def test_compile():
    network, x = network_and_image()
    with torch.no_grad():
        assert torch.allclose(torch.compile(network, backend="aot_eager", fullgraph=True)(x), network(x), atol=1e-4)


def test_state_dicts_hold_tensors_only(tmp_path):
    network, _ = network_and_image()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(type(value) is torch.Tensor for value in loaded.values())
    network.load_state_dict(loaded, strict=True)
