"""Which number format inference runs in: what was asked for, or what the hardware has."""

import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import precision
from bundle.inferers.precision import choose_precision


def test_what_is_asked_for():
    assert [choose_precision(name, "cpu") for name in ("fp32", "bf16")] == [torch.float32, torch.bfloat16]
    assert choose_precision("fp16", "cuda") == torch.float16 and choose_precision("fp32", torch.device("cuda:1")) == torch.float32


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_on_a_cpu(monkeypatch, native, expected):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: native)
    assert choose_precision("auto", "cpu") == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_counts_no_emulation(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert choose_precision("auto", "cuda") == expected


def test_auto_on_another_device_is_float32(monkeypatch):
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert choose_precision("auto", "mps") == torch.float32


def test_mistakes_name_the_key():
    with pytest.raises(UserError, match=r"precision: 'fp8' is not a number format"):
        choose_precision("fp8", "cpu")
    with pytest.raises(UserError, match=r"precision: fp16 needs a GPU"):
        choose_precision("fp16", "cpu")
