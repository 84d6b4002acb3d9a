"""Norm, ReLU and what follows a slab at a time: the numbers and gradients of PyTorch's layers, and little kept."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from torch import Tensor, nn
from trained_norms import as_if_trained

from bundle.networks.fast import after_norm as module
from bundle.networks.fast import plain_layers
from bundle.networks.fast.after_norm import after_norm, is_for
from bundle.networks.synced_batch_norm import SyncedBatchNorm

GRID = (7, 6, 5)


def image(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    return (torch.randn(*size, dtype=dtype) + 0.3).contiguous(memory_format=torch.channels_last_3d)


def norm_of(channels: int) -> nn.BatchNorm3d:
    torch.manual_seed(1)
    return as_if_trained(nn.BatchNorm3d(channels)).train()


def within_planes(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv3d(x, weight, bias, padding=[0, 1, 1])


def to_one(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv3d(x, weight)


FOLLOWING = {
    "nothing": (None, [], 0, None),
    "3x3x3": (within_planes, [(4, 3, 3, 3, 3), (4,)], 1, lambda x, weight, bias: F.conv3d(x, weight, bias, padding=1)),
    "1x1x1": (to_one, [(2, 3, 1, 1, 1)], 0, F.conv3d),
}


@pytest.mark.parametrize("planes", [1, 2, 3, 6, 7, 20])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", FOLLOWING)
def test_numbers_and_gradients_of_the_layers(monkeypatch, name, batch, planes):
    then, sizes, halo, plainly = FOLLOWING[name]
    x, norm, parameters = image(batch, 3, *GRID), norm_of(3), [torch.randn(size) for size in sizes]
    monkeypatch.setattr(module, "ONE_DNN_ROWS", 0)
    monkeypatch.setattr(module, "PIECE_BYTES", planes * 3 * GRID[1] * GRID[2] * 4)

    def outcome(by_slabs: bool) -> tuple[list[Tensor], nn.Module]:
        own, given, leaves = copy.deepcopy(norm), x.clone().requires_grad_(), [one.clone().requires_grad_() for one in parameters]
        if by_slabs:
            out = after_norm(given, own, then, leaves, halo)
        else:
            out = torch.relu(own(given))
            out = out if plainly is None else plainly(out, *leaves)
        torch.manual_seed(2)
        out.backward(torch.randn(out.shape))
        return [out.detach(), given.grad, own.weight.grad, own.bias.grad, *(leaf.grad for leaf in leaves)], own

    (found, learnt), (expected, usual) = outcome(True), outcome(False)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5) and other.abs().max() > 0.1
    assert learnt.num_batches_tracked == usual.num_batches_tracked
    for kind in ("running_mean", "running_var"):
        assert torch.allclose(getattr(learnt, kind), getattr(usual, kind), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_small_differences(monkeypatch):
    """In float64, by PyTorch's `gradcheck`, which knows nothing of norms."""
    monkeypatch.setattr(module, "ONE_DNN_ROWS", 0)
    monkeypatch.setattr(module, "PIECE_BYTES", 2 * 2 * 3 * 3 * 8)
    norm = norm_of(2).double()
    x, weight, bias = image(2, 2, 5, 3, 3, dtype=torch.float64), torch.randn(2, 2, 3, 3, 3).double(), torch.randn(2).double()
    leaves = [one.requires_grad_() for one in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda x, *parameters: after_norm(x, norm, within_planes, parameters, halo=1), leaves)
    (gradient,) = torch.autograd.grad(after_norm(x, norm).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "size", [(1, 16, 160, 160, 96), (2, 16, 224, 224, 160), (1, 32, 80, 80, 48), (1, 16, 33, 128, 640), (1, 8, 5, 16, 16)]
)
def test_slabs_are_all_planes_once_and_large_enough_for_one_dnn(size):
    x = torch.empty(size, device="meta")
    slabs = [*module._slabs(x, halo=1)]
    planes = [(slab.sample, plane) for slab in slabs for plane in range(slab.start, slab.stop)]
    assert planes == [(sample, plane) for sample in range(size[0]) for plane in range(size[2])]
    rows = [size[1] * (slab.stop - slab.start) * size[3] for slab in slabs]
    assert min(rows) > 20480 or len(slabs) == size[0]
    assert max(rows) * size[4] * 4 <= max(2 * 8 * 2**20, 4 * 20480 * size[4] * 2)


def test_number_formats_of_autocast():
    """In bfloat16 what follows is computed in it, in both directions, and the parameters' gradients come in float32."""
    x, norm, weight = image(1, 3, *GRID).bfloat16(), norm_of(3), torch.randn(2, 3, 1, 1, 1)
    seen: list[torch.dtype] = []

    def then(x: Tensor, weight: Tensor) -> Tensor:
        out = F.conv3d(x, weight)
        seen.append(out.dtype)
        return out

    leaf, parameter = x.clone().requires_grad_(), weight.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = after_norm(leaf, norm, then, [parameter])
    out.float().square().sum().backward()
    assert out.dtype == leaf.grad.dtype == torch.bfloat16 and parameter.grad.dtype == torch.float32
    assert seen == [torch.bfloat16] * 2
    exact, of_weight = x.float().requires_grad_(), weight.clone().requires_grad_()
    F.conv3d(torch.relu(norm_of(3)(exact)), of_weight).square().sum().backward()
    assert (leaf.grad.float() - exact.grad).norm() < 0.03 * exact.grad.norm()
    assert (parameter.grad - of_weight.grad).norm() < 0.03 * of_weight.grad.norm()


def test_only_what_comes_before_the_norm_is_kept():
    x, kept = image(1, 3, *GRID).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        after_norm(x * 1.0, norm_of(3), within_planes, [torch.randn(4, 3, 3, 3, 3, requires_grad=True), torch.zeros(4)], halo=1)
    assert sorted(kept)[-2:] == [4 * 3 * 27, x.numel()]


def test_the_average_over_all_batches_and_metadata():
    """A norm without momentum takes the mean of all batches; of a MetaTensor comes a plain one."""
    norm, usual = nn.BatchNorm3d(3, momentum=None), nn.BatchNorm3d(3, momentum=None)
    for scale in (1.0, 3.0):
        out = after_norm(MetaTensor(scale * image(1, 3, *GRID)), norm)
        expected = torch.relu(usual(scale * image(1, 3, *GRID)))
    assert type(out) is Tensor and torch.allclose(out, expected, atol=1e-5)
    assert torch.allclose(norm.running_mean, usual.running_mean) and torch.allclose(norm.running_var, usual.running_var)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_memory_layout_stays(monkeypatch, layout):
    monkeypatch.setattr(module, "PIECE_BYTES", 2 * 3 * GRID[1] * GRID[2] * 4)
    x, norm, usual = image(2, 3, *GRID).contiguous(memory_format=layout).requires_grad_(), norm_of(3), norm_of(3)
    out, expected = after_norm(x, norm), torch.relu(usual(x))
    assert out.is_contiguous(memory_format=layout) and torch.allclose(out, expected, atol=1e-5)
    given = torch.randn(out.shape)
    (found,), (wanted,) = (torch.autograd.grad(one, x, given) for one in (out, expected))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_what_it_is_for(monkeypatch):
    x, norm = image(2, 3, *GRID), norm_of(3)
    assert not is_for(norm, x), "it is small"
    monkeypatch.setattr(module, "SLAB_BYTES", x.numel() * 4 // 2 - 1)
    assert is_for(norm, x)
    assert not is_for(norm, x.double()) and not is_for(norm, x[..., 0]) and not is_for(norm, x.to("meta"))
    assert not is_for(nn.BatchNorm3d(3).eval(), x), "it would learn"
    assert not is_for(nn.BatchNorm3d(3, affine=False), x) and not is_for(nn.BatchNorm3d(3, track_running_stats=False), x)
    assert not is_for(SyncedBatchNorm(3), x) and not is_for(nn.InstanceNorm3d(3, affine=True, track_running_stats=True), x)
    with torch.no_grad():
        assert not is_for(norm, x)
    with plain_layers():
        assert not is_for(norm, x)
