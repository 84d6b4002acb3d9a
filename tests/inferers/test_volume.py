"""VolumeInferer: one pass and windows agree, any size works, the budget decides."""

from __future__ import annotations

import pytest
import torch

from bundle.errors import UserError
from bundle.inferers import VolumeInferer, memory, volume
from bundle.inferers.memory import choose_window
from bundle.networks import AttentionUnet


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


def have_free(monkeypatch: pytest.MonkeyPatch, room: float, most: float | None = None) -> None:
    """Let this many bytes be free; in need `most`."""
    most = room if most is None else most
    monkeypatch.setattr(volume, "free_bytes", lambda memory_gb, device: room)
    monkeypatch.setattr(memory, "free_bytes", lambda memory_gb, device, in_need: most if in_need else room)


def test_windows_where_the_budget_is_small_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Recorder(), torch.rand(1, 1, 70, 50, 40)
    have_free(monkeypatch, 28 * 70 * 50 * 40 + 120 * 32**3)
    logits = VolumeInferer(roi_size=(32, 32, 32), precision="fp32")(x, network)
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
        # and of 96 voxels in any case, where that is not more than the patch
        (96 * 96 * 96, (160, 160, 96), (96, 96, 96)),
        (96 * 96 * 96 - 1, (160, 160, 96), None),
        (32 * 32 * 16, (32, 32, 16), (32, 32, 16)),
        (32 * 32 * 16 - 1, (32, 32, 16), None),
    ],
)
def test_window_follows_from_the_voxels_that_fit(voxels: int, roi_size: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    assert choose_window((200, 150, 100), roi_size, voxels) == expected


def test_a_budget_without_room_for_windows_that_show_enough_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """160x150x144 voxels in windows of 96: 120 bytes for each of 96^3 voxels, and 28 for each of 3,456,000: 202,936,320."""
    network, x = Recorder(), torch.zeros(1, 1, 160, 150, 144)
    have_free(monkeypatch, 202_936_320 + 120)
    VolumeInferer(precision="fp32", overlap=0)(x, network)
    assert set(network.seen) == {(96, 96, 96)}
    have_free(monkeypatch, 202_936_320 - 120)
    monkeypatch.setattr(memory, "_taken", lambda: 320e6)
    monkeypatch.setattr(memory, "memory_limit", lambda: 8e9)
    # (202,936,320 + 320e6 + 150e6) / 0.95
    found = r"^memory_gb: 0\.4 is too little: the process holds 0\.32 GB already, and the network needs 0\.35 GB for a volume of "
    found += r"160x150x144 voxels in windows of 96x96x96, the least in which it sees enough\. Fix: give 0\.8 or more\.$"
    with pytest.raises(UserError, match=found):
        VolumeInferer(precision="fp32", overlap=0, memory_gb=0.4)(x, network)
    assert VolumeInferer(precision="fp32").least_bytes(x, network) == 202_936_320
    # of the user's own choice
    VolumeInferer((32, 32, 32), precision="fp32", whole=False, memory_gb=0.4)(x, network)
    VolumeInferer((32, 32, 32), precision="fp32", memory_gb=0.4)(x, network)


def test_classes_beyond_four_take_memory_of_their_own() -> None:
    """14 classes: 60 bytes for each voxel of a pass become 120, 120 in windows 180, and 28 of the volume while they are blended 68."""
    network, x = AttentionUnet(3, 1, 14, (2, 2, 2)).eval(), torch.zeros(1, 1, 160, 150, 144)
    assert network.bytes_per_voxel == 60 + 6 * 10
    assert VolumeInferer(precision="fp32").least_bytes(x, network) == 68 * 3_456_000 + 180 * 96**3
    assert VolumeInferer(precision="fp32").least_bytes(x[..., :100], network) == 120 * 160 * 150 * 100


def test_in_need_what_is_kept_free_is_taken_and_no_smaller_window(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = Recorder(), torch.zeros(1, 1, 160, 150, 144)
    have_free(monkeypatch, 1e6, 202_936_320)
    VolumeInferer(precision="fp32", overlap=0)(x, network)
    assert set(network.seen) == {(96, 96, 96)}


def test_a_pass_that_takes_less_than_the_least_windows_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 100x100x100 voxels of 36 bytes are less than 28 for each and a window of 96x96x96."""
    network, x = Recorder(), torch.zeros(1, 1, 100, 100, 100)
    have_free(monkeypatch, 1e6, 36e6)
    VolumeInferer(precision="bf16")(x, network)
    assert set(network.seen) == {(100, 100, 100)}
    assert VolumeInferer(precision="bf16").least_bytes(x, network) == 36e6
    # slabs are padded first: 10 slices to 32, as 10 + 2 x 6 is no multiple of 16
    halving = AttentionUnet(3, 1, 2, (2, 2, 2, 2, 2))
    assert VolumeInferer(precision="fp32", bytes_per_voxel=1.0).least_bytes(x[..., :10], halving) == 100 * 100 * 32
    assert VolumeInferer(whole=False).least_bytes(x, network) == 0


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


def test_less_at_once_where_memory_gives_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(Recorder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = super().forward(x)
            if x.numel() > 60_000:
                raise torch.OutOfMemoryError("out of memory")
            return logits

    network, x = Greedy(), torch.rand(1, 1, 64, 64, 64)
    # a budget that the volume just fits into by the book
    have_free(monkeypatch, 60 * 64**3)
    logits = VolumeInferer(roi_size=(32, 32, 32), precision="fp32")(x, network)
    assert torch.allclose(logits, torch.cat([x, 2 * x + 1], 1), atol=1e-5)
    assert len(set(network.seen)) > 1
    network.seen.clear()
    with pytest.raises(torch.OutOfMemoryError):
        VolumeInferer(roi_size=(64, 64, 64), precision="fp32")(x, network)
    assert set(network.seen) == {(64, 64, 64)}, "not in windows in which the network sees too little"
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
