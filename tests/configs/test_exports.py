"""The commands of docs/exports.md: MONAI's verbs make files from the checkpoint that give what the network gives."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bundle.networks import AttentionUnet

pytestmark = pytest.mark.slow

CHANNELS = [4, 4, 8, 8, 8]
# no size of the first is a multiple of 16, all of the second are
SIZES = ((33, 18, 21), (48, 32, 64))


@pytest.fixture(scope="module")
def network() -> AttentionUnet:
    torch.manual_seed(0)
    return AttentionUnet(channels=CHANNELS, init="authors").eval()


@pytest.fixture
def ran(repository: Path, network: AttentionUnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`ran(verb)` types the command of the page with this network's weights in the place of the bundle's; gives the file."""
    from monai.bundle import __main__ as monai_bundle

    torch.save(network.state_dict(), tmp_path / "model.pt")
    text = (repository / "docs" / "exports.md").read_text(encoding="utf-8").replace("\\\n", " ")

    def run(verb: str) -> Path:
        import fire

        line = re.search(rf"^python -m monai\.bundle {verb} .*$", text, re.MULTILINE)[0]
        words = shlex.split(line)[4:]
        given = dict(zip([word.lstrip("-") for word in words[::2]], words[1::2], strict=True))
        to = tmp_path / Path(given["filepath"]).name
        given |= {"filepath": str(to), "ckpt_file": str(tmp_path / "model.pt"), "network_def#channels": str(CHANNELS)}
        monkeypatch.chdir(repository)
        monkeypatch.setattr(sys, "argv", ["monai.bundle"])
        fire.Fire(getattr(monai_bundle, verb), command=[word for key, value in given.items() for word in (f"--{key}", value)])
        return to

    return run


def _same(network: AttentionUnet, other, sizes: Sequence[Sequence[int]] = SIZES) -> None:
    for size in sizes:
        image = torch.randn(1, 1, *size)
        with torch.no_grad():
            expected = network(image).numpy()
        actual = other(image)
        assert actual.shape == expected.shape and np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max(), size


def test_onnx_takes_any_size(ran, network: AttentionUnet) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    session = onnxruntime.InferenceSession(ran("onnx_export"), providers=["CPUExecutionProvider"])
    assert [found.name for found in (*session.get_inputs(), *session.get_outputs())] == ["image", "pred"]
    _same(network, lambda image: session.run(None, {"image": image.numpy()})[0])


def test_torchscript_takes_any_size_and_holds_the_config(ran, network: AttentionUnet) -> None:
    from monai.data import load_net_with_metadata

    scripted, metadata, files = load_net_with_metadata(str(ran("ckpt_export")), more_extra_files=("inference.json",))
    with torch.no_grad(), torch.jit.optimized_execution(False):
        _same(network, lambda image: scripted(image).numpy())
    assert metadata["name"] and b"network_def" in files["inference.json"]


def test_tensorrt_is_given_what_it_needs(ran, network: AttentionUnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT needs a GPU: here a stand-in takes what MONAI hands to its compiler."""
    from monai.bundle import scripts

    taken = {}

    def convert(model, **arguments):
        taken.update(arguments, model=model.eval())  # as MONAI does first of all
        return torch.jit.script(model)

    monkeypatch.setattr(scripts, "convert_to_trt", convert)
    ran("trt_export")
    assert taken["precision"] == "fp16" and list(taken["input_shape"]) == [1, 1, 160, 160, 96] and taken["use_trace"] is True
    assert list(taken["dynamic_batchsize"]) == [1, 1, 1]
    traced = torch.jit.trace(taken["model"], torch.zeros(1, 1, 48, 32, 32))
    _same(network, lambda image: traced(image).detach().numpy(), [(48, 32, 32)])
