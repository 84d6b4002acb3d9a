"""What a GPU gives is what the CPU gives; skipped where there is no GPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.losses import DiceCELoss
from monai.transforms import Compose

from bundle.arguments.config import shipped_path
from bundle.inferers import VolumeInferer
from bundle.networks import AttentionUnet, fold_batch_norm
from bundle.networks.weights import load_weights

GPU = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def full_float32() -> Iterator[None]:
    """Products of float32 in float32: TF32 rounds them to ten bits."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
    torch.set_float32_matmul_precision(before)


def scan(seed: int = 0) -> torch.Tensor:
    """A smooth volume (1, 1, 48, 40, 56) of mean 0 and sd 1."""
    coarse = torch.randn(1, 1, 6, 5, 7, generator=torch.Generator().manual_seed(seed))
    volume = torch.nn.functional.interpolate(coarse, (48, 40, 56), mode="trilinear")
    return (volume - volume.mean()) / volume.std()


def trained() -> AttentionUnet:
    """The shipped network in evaluation mode."""
    parser = ConfigParser()
    parser.read_config(str(shipped_path("inference")))
    parser["device"] = "cpu"
    return parser.get_parsed_content("network").eval()


@pytest.mark.parametrize("fold", [False, True])
def test_logits(fold: bool) -> None:
    network = fold_batch_norm(trained()) if fold else trained()
    with torch.inference_mode():
        expected = network(scan())
        found = copy.deepcopy(network).to(GPU)(scan().to(GPU)).cpu()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_labels_of_a_whole_volume_and_of_windows(precision: str) -> None:
    network = trained()
    expected = VolumeInferer(precision="fp32")(scan(), network).argmax(1)
    for whole in (True, False):
        inferer = VolumeInferer(roi_size=(32, 32, 32), precision=precision, whole=whole, prepare=fold_batch_norm)
        reference = expected if whole else VolumeInferer(roi_size=(32, 32, 32), precision="fp32", whole=False)(scan(), network).argmax(1)
        found = inferer(scan().to(GPU), copy.deepcopy(network).to(GPU)).argmax(1).cpu()
        assert (found == reference).float().mean() > (0.9999 if precision == "fp32" else 0.99)


def test_a_training_step() -> None:
    """One step of SGD with Dice and cross-entropy: loss, and every weight after it."""
    torch.manual_seed(0)
    network = AttentionUnet(channels=(4, 8, 16), num_gates=2)
    label = (scan(1) > 0.5).long() + (scan(2) > 1).long()
    after = []
    for device in (torch.device("cpu"), GPU):
        one = copy.deepcopy(network).to(device, memory_format=torch.channels_last_3d).train()
        optimizer = torch.optim.SGD(one.parameters(), 0.1)
        loss = DiceCELoss(to_onehot_y=True, softmax=True)(one(scan().to(device)), label.to(device))
        loss.backward()
        optimizer.step()
        after.append((float(loss.detach()), {name: value.detach().cpu() for name, value in one.state_dict().items()}))
    assert after[0][0] == pytest.approx(after[1][0], abs=1e-4)
    for name, value in after[0][1].items():
        torch.testing.assert_close(after[1][1][name], value, atol=1e-3, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("overlay", ["train", "weights"])
def test_augmentation(overlay: str) -> None:
    """The same draws make the same patch, but for noise, whose numbers are rounded, and labels on a border."""
    patches = []
    for device in ("cpu", str(GPU)):
        parser = ConfigParser()
        parser.read_config([str(shipped_path(name)) for name in dict.fromkeys(("train", overlay))])
        parser["augment_device"], parser["patch_size"] = device, [32, 32, 32]
        transforms = Compose(parser.get_parsed_content("train#random_transforms")).set_random_state(seed=3)
        made = transforms({"image": scan()[0], "label": (scan(1)[0] > 0.5).to(torch.uint8)})
        assert made["image"].device.type == torch.device(device).type
        patches.append({key: torch.as_tensor(value).cpu().numpy() for key, value in made.items()})
    np.testing.assert_allclose(patches[1]["image"], patches[0]["image"], atol=2e-3)
    assert (patches[1]["label"] == patches[0]["label"]).mean() > 0.999


def test_weights_written_on_a_gpu_are_read_without_one(tmp_path: Path) -> None:
    network = AttentionUnet(channels=(2, 4, 4)).to(GPU)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    read = load_weights(AttentionUnet(channels=(2, 4, 4)), tmp_path / "model.pt")
    assert all(value.device.type == "cpu" for value in read.state_dict().values())
