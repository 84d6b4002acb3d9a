"""Which number format a training runs in."""

import pytest
import torch
from monai.data import MetaTensor

from bundle.errors import UserError
from bundle.inferers import AutocastInferer, needs_scaler, validation_precision
from bundle.inferers import precision as precision_module
from bundle.inferers.autocast import amp_dtype


class Probe(torch.nn.Module):
    """A convolution that remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 1)

    def forward(self, x):
        self.channels_last = x.is_contiguous(memory_format=torch.channels_last_3d)
        out = self.conv(x)
        self.dtype = out.dtype
        return out


@pytest.mark.parametrize(("amp", "expected"), [(False, torch.float32), ("true", torch.bfloat16)])
def test_network_runs_in_the_format_and_logits_are_float32(amp, expected):
    network = Probe()
    out = AutocastInferer(amp, "cpu")(torch.rand(2, 1, 4, 4, 4), network)
    assert network.dtype == expected and network.channels_last
    assert out.dtype == torch.float32 and out.requires_grad


def test_a_compiled_network_takes_a_batch_of_monai_s():
    """`network` of an overlay: `$torch.compile(...)`. A MetaTensor sends Dynamo into an endless recursion."""
    network = Probe()
    compiled = torch.compile(network, backend="eager")
    volume = torch.rand(1, 1, 4, 4, 4)
    out = AutocastInferer(False, "cpu")(MetaTensor(volume), compiled)
    assert type(out) is torch.Tensor and torch.equal(out, network.conv(volume))


def test_lists_of_outputs_stay_lists():
    out = AutocastInferer(True, "cpu")(torch.rand(1, 1, 4, 4), lambda x: [x.to(torch.bfloat16), x])
    assert [item.dtype for item in out] == [torch.float32, torch.float32]


def test_auto_follows_the_hardware(monkeypatch):
    monkeypatch.setattr(precision_module, "cpu_has_bf16", lambda: False)
    assert amp_dtype("auto", "cpu") == torch.float32
    monkeypatch.setattr(precision_module, "cpu_has_bf16", lambda: True)
    assert amp_dtype("auto", "cpu") == torch.bfloat16
    for supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True, supported=supported: supported)
        assert amp_dtype("auto", "cuda") == amp_dtype(True, "cuda") == expected
        assert needs_scaler("auto", "cuda") == (expected == torch.float16)


def test_only_float16_needs_a_scaler():
    assert not needs_scaler("auto", "cpu") and not needs_scaler(False, "cuda")


def test_validation_follows_the_same_key():
    assert [validation_precision(amp) for amp in ("auto", True, False, "false")] == ["auto", "auto", "fp32", "fp32"]


def test_wrong_choice_names_the_key():
    with pytest.raises(UserError, match=r"amp.*'fast'"):
        AutocastInferer("fast", "cpu")
