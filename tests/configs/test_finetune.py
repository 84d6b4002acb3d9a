"""finetune.json over train.json: the network starts from other weights, gates first where wanted."""

from __future__ import annotations

import torch

from bundle.arguments.config import shipped_path
from bundle.networks import AttentionUnet
from bundle.networks.weights.transfer import GatesFirst

CHANNELS = [2, 3, 4]


def test_network_starts_from_the_unet_and_other_labels(repository, tmp_path):
    from monai.bundle import ConfigParser

    torch.manual_seed(0)
    unet = AttentionUnet(3, 1, 2, CHANNELS, num_gates=0).eval()
    torch.save(unet.state_dict(), tmp_path / "unet.pt")
    parser = ConfigParser()
    parser.read_config([str(repository / "configs" / "train.json"), str(shipped_path("finetune"))])
    parser["pretrained"] = str(tmp_path / "unet.pt")
    parser["pretrained_labels"] = ["background", "spleen"]
    parser["network_def"]["channels"] = CHANNELS
    parser["device"] = "cpu"
    parser["gates_first_epochs"] = 3
    network = parser.get_parsed_content("network").eval()
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        expected, actual = unet(x), network(x)
    assert torch.allclose(actual[:, [0, 2]], expected, atol=1e-4)  # background, pancreas, spleen, kidney
    last = parser["train"]["handlers"][-1]
    assert last["_target_"] == f"{GatesFirst.__module__}.GatesFirst" and last["epochs"] == "@gates_first_epochs"
