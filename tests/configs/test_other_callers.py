"""Programs that read the scan themselves: MONAI Deploy's bundle operator, played step by step, and plain tensors with an affine."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from small_scans import nifti

from bundle.data.load_scan import LoadScand
from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.transforms import RestoreLabelsd


@pytest.fixture
def parser(repository: Path, tmp_path: Path) -> ConfigParser:
    torch.manual_seed(3)
    torch.save(AttentionUnet(channels=[4, 4, 8, 8, 8], init="authors").state_dict(), tmp_path / "model.pt")
    parser = ConfigParser()
    parser.read_config(str(repository / "configs" / "inference.json"))
    parser.read_meta(str(repository / "configs" / "metadata.json"))
    parser["network_def"]["channels"] = [4, 4, 8, 8, 8]
    parser["ckpt_path"], parser["device"] = str(tmp_path / "model.pt"), "cpu"
    return parser


def deploys(parser: ConfigParser, value: torch.Tensor, meta: dict, weights: Path) -> torch.Tensor:
    """What `MonaiBundleInferenceOperator.compute` of MONAI Deploy 3 does with an image that it has read."""

    def filtered(name: str) -> Compose:
        compose = parser.get_parsed_content(name)
        left_out = ("LoadImage", "SaveImage")
        compose.transforms = tuple(t for t in compose.transforms if not any(word in type(t).__name__ for word in left_out))
        return compose

    before, after, inferer = filtered("preprocessing"), filtered("postprocessing"), parser.get_parsed_content("inferer")
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    with torch.no_grad():
        inputs = before({"image": MetaTensor.ensure_torch_and_prune_meta(value, meta)})
        image = inputs.pop("image")
        logits = inferer(inputs=image[None], network=network.eval())
        return after({"pred": next(iter(logits)), "image": image})["pred"]


@pytest.mark.parametrize("channel", ["no_channel", -1])
def test_deploys_operator_gives_the_label_map_of_inference(parser: ConfigParser, tmp_path: Path, channel: str | int) -> None:
    path = nifti(tmp_path / "scan.nii.gz")
    source = nibabel.load(path)
    steps = [parser.get_parsed_content(name) for name in ("preprocessing", "inferer", "postprocessing")]
    image = steps[0]({"image": str(path)})["image"]
    with torch.no_grad():
        expected = steps[2]({"pred": steps[1](image[None], parser.get_parsed_content("network").eval())[0], "image": image})["pred"]
    # the operator hands over what the DICOM gave: (W, H, D) or (W, H, D, 1) in floats, and more in its metadata than MONAI knows
    value = np.asarray(source.dataobj, dtype=np.float32)
    meta = {"affine": source.affine, "original_affine": source.affine, "spacing": np.ones(3), "original_channel_dim": channel}
    meta |= {"spatial_shape": np.asarray(value.shape), "SeriesInstanceUID": "1.2.3", "modality": "CT"}
    given = torch.from_numpy(value if channel == "no_channel" else value[..., None])
    labels = deploys(parser, given, meta, tmp_path / "model.pt")
    assert labels.shape == (1, *source.shape) and labels.dtype == torch.uint8
    np.testing.assert_allclose(labels.affine, source.affine)
    assert torch.equal(labels.as_tensor(), expected.as_tensor()) and len(labels.unique()) > 1


def test_a_loaded_image_passes_as_the_loader_would_give_it(tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii.gz")
    source, load = nibabel.load(path), LoadScand("image")
    expected = load({"image": str(path)})["image"]
    for given in (
        {"image": MetaTensor(torch.from_numpy(np.asarray(source.dataobj, np.float32)), affine=torch.from_numpy(source.affine))},
        {"image": np.asarray(source.dataobj, np.float64), "image_meta_dict": {"affine": source.affine}},
        {"image": MetaTensor(torch.from_numpy(np.asarray(source.dataobj, np.int16))[None], affine=torch.from_numpy(source.affine))},
    ):
        image = load(given)["image"]
        assert torch.equal(image.as_tensor(), expected.as_tensor().to(image.dtype)) and image.shape == source.shape
        np.testing.assert_allclose(image.affine, source.affine)
        np.testing.assert_allclose(image.meta["original_affine"], source.affine)
    with pytest.raises(UserError, match="this tensor has no affine"):
        load({"image": torch.zeros(4, 4, 4)})


def test_logits_beside_a_tensor_with_an_affine_alone() -> None:
    affine = torch.tensor([[-2.0, 0, 0, 5], [0, 2, 0, -3], [0, 0, 3, 1], [0, 0, 0, 1]], dtype=torch.float64)
    wanted = torch.zeros(3, 4, 5, dtype=torch.uint8)
    wanted[1, 2, 3], wanted[2, 0, 4] = 1, 2
    logits = torch.nn.functional.one_hot(wanted.long(), 3).movedim(-1, 0).float()
    for item in (
        {"pred": logits, "image": MetaTensor(torch.zeros(1, 3, 4, 5), affine=affine)},
        {"pred": logits, "image": torch.zeros(1, 3, 4, 5), "image_meta_dict": {"affine": affine.numpy()}},
    ):
        restored = RestoreLabelsd("pred", values=[0, 5, 7])(item)["pred"]
        assert restored[0].tolist() == torch.tensor([0, 5, 7])[wanted.long()].tolist()
        np.testing.assert_allclose(restored.affine, affine)
    with pytest.raises(ValueError, match="does not know the grid"):
        RestoreLabelsd("pred")({"pred": logits, "image": torch.zeros(1, 3, 4, 5)})
