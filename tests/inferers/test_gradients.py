"""bfloat16 gradients on CPUs: which convolutions are kept out of it, under each set of instructions that oneDNN may use."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from number_formats import Formats
from torch.utils.checkpoint import checkpoint

from bundle.errors import UserError
from bundle.inferers import AutocastInferer, autocast, gradients
from bundle.inferers.autocast import amp_dtype
from bundle.inferers.gradients import cpu_gradients_are_right, cpu_has_bf16
from bundle.networks.small_convolutions import as_now


def test_the_guard_is_there_in_training_and_not_without_gradients():
    network = torch.nn.Conv3d(1, 1, 3, padding=1)
    inferer = AutocastInferer(True, "cpu")
    with Formats() as formats:
        inferer(torch.rand(1, 1, 2, 4, 4), network)
        with torch.no_grad():
            inferer(torch.rand(1, 1, 2, 4, 4), network)
    assert formats.seen == [torch.float32, torch.bfloat16]


def test_what_is_computed_again_for_the_gradients_is_computed_alike():
    """Activation checkpointing computes blocks a second time in the backward pass, when the forward pass's context is over."""
    block, inferer = torch.nn.Sequential(*(torch.nn.Conv3d(1, 1, 3, padding=1) for _ in range(2))), AutocastInferer(True, "cpu")

    def network(x):
        again = as_now()
        return checkpoint(block, x, use_reentrant=False, context_fn=lambda: (nullcontext(), again))

    for size, expected in ((2, torch.float32), (3, torch.bfloat16)):
        with Formats() as formats:
            inferer(torch.rand(1, 1, size, 4, 4), network).square().sum().backward()
        # both, and the first one again, as what the second one was given is needed
        assert formats.seen == [expected] * 3


def test_gradients_equal_those_of_float32_but_for_rounding():
    """Shapes that are garbage with AVX512 and without AMX, where the guard is missing; `make test-cpus` runs this without AMX."""
    assert cpu_gradients_are_right()
    for size, kernel, stride in (((2, 8, 8), 3, 1), ((2, 2, 2), 3, 1), ((4, 8, 8), 5, 1), ((1, 8, 8), 3, 2), ((3, 4, 4), 3, 1)):
        network = torch.nn.Conv3d(16, 16, kernel, stride, kernel // 2, bias=False)
        x = torch.randn(2, 16, *size)
        found = []
        for amp in (False, True, True):
            network.zero_grad()
            AutocastInferer(amp, "cpu")(x, network).square().sum().backward()
            found.append(network.weight.grad.clone())
        assert torch.equal(found[1], found[2]), size
        # x, weight, output and its gradient are rounded, by 2**-9 of a value each; 2**-5 is far from garbage and above that
        assert (found[1] - found[0]).abs().max() <= 2**-5 * found[0].abs().max(), size


def test_the_same_with_avx512_and_without_amx(repository, warm_python):
    """In a process of its own, as oneDNN reads its setting once; a CPU without AVX512 does what it can."""
    places = os.pathsep.join(map(str, (repository, repository / "tests" / "networks")))
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
    check = test_gradients_equal_those_of_float32_but_for_rounding.__name__
    code = f"import test_gradients; test_gradients.{check}(); print('checked')"
    done = warm_python("-c", code, cwd=Path(__file__).parent, env=environment)
    assert (done.returncode, done.stdout) == (0, "checked\n"), done.stderr[-2000:]


def test_where_gradients_are_wrong_auto_is_float32_and_true_is_refused(monkeypatch):
    monkeypatch.setattr(autocast, "cpu_gradients_are_right", lambda: False)
    assert amp_dtype("auto", "cpu") == torch.float32
    with pytest.raises(UserError, match=r"amp: this CPU's gradients .* wrong.* Fix: use auto or false"):
        AutocastInferer(True, "cpu")


@pytest.mark.parametrize("kind", ["garbage", "not twice the same"])
def test_the_probe_sees_wrong_gradients(monkeypatch, kind):
    real, calls = torch.autograd.grad, []

    def wrong(out, leaf, signs):
        gradient = real(out, leaf, signs)[0]
        calls.append(leaf.dtype)
        if leaf.dtype == torch.bfloat16 and (kind == "garbage" or len(calls) % 3 == 0):
            gradient[1, 0, 1, 1, 1] += gradient.abs().max() * (1.0 if kind == "garbage" else 0.01)
        return (gradient,)

    cpu_gradients_are_right.cache_clear()
    monkeypatch.setattr(gradients.torch.autograd, "grad", wrong)
    assert not cpu_gradients_are_right()
    cpu_gradients_are_right.cache_clear()


def test_what_onednn_may_not_use_is_not_native(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    for name, expected in (("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True), ("ALL", True), ("", True)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", name)
        assert cpu_has_bf16() is expected
