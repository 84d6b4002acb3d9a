"""VolumeInferer: one pass and windows agree, any size works, the budget decides."""

from __future__ import annotations

import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import VolumeInferer
from bundle.inferers.memory import choose_window


class Recorder(torch.nn.Module):
    """Two classes from a pointwise function, so windows cannot change the result; notes the sizes it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape[2:]))
        return torch.cat([x, 2 * x + 1], 1)


def test_one_pass_where_it_fits() -> None:
    network, x = Recorder(), torch.rand(1, 1, 40, 32, 24)
    logits = VolumeInferer(precision="fp32")(x, network)
    assert network.seen == [(40, 32, 24)]
    assert torch.equal(logits, torch.cat([x, 2 * x + 1], 1))
    logits.add_(1)  # an ordinary tensor, not one locked by inference mode


def test_windows_where_the_budget_is_small_with_the_same_result() -> None:
    network, x = Recorder(), torch.rand(1, 1, 70, 50, 40)
    logits = VolumeInferer(roi_size=(32, 32, 32), precision="fp32", memory_gb=0.001)(x, network)
    assert len(network.seen) > 8 and set(network.seen) == {(32, 32, 32)}
    assert torch.allclose(logits, torch.cat([x, 2 * x + 1], 1), atol=1e-5)


def test_tiny_volumes_are_padded_and_cut_back() -> None:
    network, x = Recorder(), torch.rand(1, 1, 9, 20, 3)
    logits = VolumeInferer(precision="fp32")(x, network)
    assert network.seen == [(16, 20, 16)]
    assert torch.equal(logits, torch.cat([x, 2 * x + 1], 1))


def test_flips_average_the_mirror_image() -> None:
    def leaning(x: torch.Tensor) -> torch.Tensor:
        return x * torch.arange(x.shape[2]).view(1, 1, -1, 1, 1)

    x = torch.rand(1, 1, 16, 16, 16)
    # weight i at index i, and 15 - i from the mirror image: 7.5 everywhere
    assert torch.allclose(VolumeInferer(precision="fp32", flips=True)(x, leaning), 7.5 * x)


def test_bf16_comes_back_as_float32() -> None:
    logits = VolumeInferer(precision="bf16")(torch.rand(1, 1, 16, 16, 16), torch.nn.Conv3d(1, 2, 3, padding=1))
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("voxels", "roi_size", "expected"),
    [
        (200 * 150 * 100, (96, 96, 96), (200, 150, 100)),
        # two windows of 96 (step 72: 96 + 72 >= 150) are less work than three of 80 along the first axis
        (200 * 150 * 99, (96, 96, 96), (200, 96, 100)),
        # no smaller than the patch where that fits
        (160 * 150 * 96, (160, 160, 96), (160, 150, 96)),
        (10, (96, 96, 96), (32, 32, 32)),
    ],
)
def test_window_follows_from_the_voxels_that_fit(voxels: int, roi_size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert choose_window((200, 150, 100), roi_size, voxels) == expected


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        VolumeInferer(overlap=1.0)
    with pytest.raises(ValueError, match="precision"):
        VolumeInferer(precision="fp8")
    with pytest.raises(ValueError, match="GPU"):
        VolumeInferer(precision="fp16")(torch.rand(1, 1, 16, 16, 16), Recorder())


def test_windows_of_one_size_where_one_pass_is_not_wanted() -> None:
    network, x = Recorder(), torch.rand(1, 1, 40, 32, 24)
    logits = VolumeInferer(roi_size=(32, 32, 32), precision="fp32", whole=False)(x, network)
    assert set(network.seen) == {(32, 32, 32)}
    assert torch.allclose(logits, torch.cat([x, 2 * x + 1], 1), atol=1e-5)


def test_windows_that_are_larger_than_the_volume_repeat_its_outermost_voxels() -> None:
    x = torch.rand(1, 1, 40, 40, 20) - 3
    seen = []

    def network(patch: torch.Tensor, scale: float) -> torch.Tensor:
        seen.append(patch.clone())
        return scale * patch

    logits = VolumeInferer(roi_size=(32, 32, 32), precision="fp32", whole=False)(x, network, 2.0)
    assert torch.allclose(logits, 2 * x, atol=1e-5)
    # of 32 planes 12 are missing, 6 on each side
    for patch in seen:
        assert torch.equal(patch[..., :6], patch[..., 6:7].expand(-1, -1, -1, -1, 6))
        assert torch.equal(patch[..., 26:], patch[..., 25:26].expand(-1, -1, -1, -1, 6))
    assert any(torch.equal(patch[..., 6:26], x[:, :, :32, :32]) for patch in seen)


def test_less_at_once_where_memory_gives_out() -> None:
    class Greedy(Recorder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = super().forward(x)
            if x.numel() > 60_000:
                raise torch.OutOfMemoryError("out of memory")
            return logits

    network, x = Greedy(), torch.rand(1, 1, 64, 64, 64)
    # a budget that the volume just fits into by the book
    logits = VolumeInferer(precision="fp32", bytes_per_voxel=2e4)(x, network)
    assert torch.allclose(logits, torch.cat([x, 2 * x + 1], 1), atol=1e-5)
    assert len(set(network.seen)) > 1
    with pytest.raises(RuntimeError, match="something else"):
        VolumeInferer(precision="fp32")(x, broken)


def broken(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("something else")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_are_refused(value):
    def network(x):
        out = torch.cat([x, -x], 1)
        out[0, 0, 3, 4, 5] = value
        return out

    with pytest.raises(UserError, match=r"network: its output has values that are not finite. Fix: use --precision fp32"):
        VolumeInferer()(torch.zeros(1, 1, 16, 16, 16), network)


def test_logits_whose_sum_overflows_are_taken():
    logits = VolumeInferer(precision="fp32")(torch.full((1, 1, 16, 16, 16), 1e37), torch.nn.Identity())
    assert not torch.isfinite(logits.sum()) and torch.equal(logits, torch.full((1, 1, 16, 16, 16), 1e37))
