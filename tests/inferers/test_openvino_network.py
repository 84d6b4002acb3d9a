"""OpenVinoNetwork: the same logits as PyTorch at any size, one export per set of weights."""

from __future__ import annotations

import errno
import importlib.util
from pathlib import Path

import pytest
import torch
from monai.networks import nets

from bundle.errors import UserError
from bundle.inferers.openvino_network import OpenVinoNetwork
from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.dense_vnet import DenseVNet

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")


def small(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return fold_batch_norm(AttentionUnet(channels=(4, 4, 8, 8, 8)).eval())


def test_same_logits_as_pytorch_at_any_size_from_one_export(tmp_path: Path) -> None:
    network = small(0)
    exported = OpenVinoNetwork(network, tmp_path, precision="fp32", threads=1)
    for shape in ((32, 48, 16), (37, 20, 50)):
        x = torch.randn(1, 1, *shape)
        with torch.no_grad():
            assert torch.allclose(exported(x), network(x), atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 1
    assert OpenVinoNetwork(network, tmp_path).exported() == exported.exported()
    assert OpenVinoNetwork(small(1), tmp_path).exported() != exported.exported()


@pytest.mark.parametrize(
    "network",
    [
        AttentionUnet(channels=(2, 2, 4)),
        AttentionUnet(in_channels=2, channels=(2, 2, 2, 4, 4, 4)),
        DenseVNet(features=(4, 4, 4), growth=(2, 2, 2), units=(1, 1, 1), skip_channels=(2, 2, 2)),
    ],
    ids=["three levels", "six levels, two channels", "Dense V-Net"],
)
def test_each_network_in_its_own_steps(tmp_path: Path, network: torch.nn.Module) -> None:
    torch.manual_seed(0)
    folded = fold_batch_norm(network.eval())
    x = torch.randn(1, getattr(network, "in_channels", 1), 37, 20, 50)
    with torch.no_grad():
        assert torch.allclose(OpenVinoNetwork(folded, tmp_path, precision="fp32", threads=1)(x), folded(x), atol=1e-4)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="network_def: UNet is none of this bundle's networks"):
        OpenVinoNetwork(nets.UNet(3, 1, 2, (2, 2), (2,)), tmp_path)


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    def full(model: object, path: Path, **options: object) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(OSError, match="No space left"):
        OpenVinoNetwork(small(0), tmp_path).exported()
    assert list(tmp_path.iterdir()) == []


def test_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision"):
        OpenVinoNetwork(small(0), tmp_path, precision="int8")
