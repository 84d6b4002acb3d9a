"""RestoreLabelsd against MONAI's Invertd of all classes and argmax, voxel by voxel."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, Invertd, Orientationd

from bundle.transforms import CropBodyd, ResampleSpacingd, RestoreLabelsd, restore_labels

SHEARED = np.array([[1.5, 0, 0, 10], [0, 1.2, 0.6, -20], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
OBLIQUE = np.array([[1.2, -0.5, 0, 3], [0.5, 1.2, 0, 7], [0, 0, 2.5, 11], [0, 0, 0, 1.0]])
PERMUTED = np.array([[0, 0, 2.5, 0], [-1.1, 0, 0, 40], [0, -1.3, 0, 60], [0, 0, 0, 1.0]])
AFFINES = {
    "RAS": np.diag([1.1, 1.3, 2.5, 1]),
    "LPS": np.diag([-1.1, -1.3, 2.5, 1]),
    "LAI": np.diag([-1.1, 1.3, -2.5, 1]),
    "permuted": PERMUTED,
    "oblique": OBLIQUE,
    "sheared": SHEARED,
    "already 2 mm": np.diag([2.0, 2.0, 2.0, 1]),
}


def preprocess() -> Compose:
    return Compose(
        [
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            CropBodyd("image", margin=2.0),
            ResampleSpacingd("image", pixdim=2.0, dtype="float64"),
        ]
    )


def scan(affine: np.ndarray, shape: tuple[int, int, int] = (40, 34, 26)) -> MetaTensor:
    """Air with a body off the middle, so that every mistake in axes or crop shows."""
    image = torch.full(shape, -1000.0)
    image[6:33, 9:30, 2:22] = 40.0
    meta = {"original_affine": affine.copy(), "spatial_shape": np.array(shape), "original_channel_dim": float("nan")}
    return MetaTensor(image, affine=torch.as_tensor(affine), meta=meta)


def logits_for(image: torch.Tensor, classes: int, smooth: bool) -> MetaTensor:
    noise = torch.randn((1, classes, *image.shape[1:]), generator=torch.Generator().manual_seed(3))
    if smooth:
        noise = torch.nn.functional.avg_pool3d(noise, 5, 1, 2) * 10
    return MetaTensor(noise[0], affine=image.affine)


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize(("classes", "smooth"), [(4, True), (14, False)])
def test_equals_invertd_then_argmax(name: str, classes: int, smooth: bool) -> None:
    transform = preprocess()
    data = transform({"image": scan(AFFINES[name])})
    data["pred"] = logits_for(data["image"], classes, smooth)
    inverted = Invertd("pred", transform, "image", nearest_interp=False, to_tensor=True)(data)["pred"]
    expected = inverted.argmax(0).numpy()
    restored = RestoreLabelsd("pred")(data)["pred"]
    assert restored.shape == (1, 40, 34, 26) and restored.dtype == torch.uint8
    assert np.allclose(restored.affine, AFFINES[name])
    differ = restored.numpy()[0] != expected
    if differ.any():
        # only where two classes tie to within rounding
        best = torch.sort(inverted.as_tensor(), 0, descending=True).values
        assert float((best[0] - best[1])[torch.from_numpy(differ)].max()) < 1e-4
    assert differ.mean() < 2e-4
    assert (expected != 0).mean() > 0.1


@pytest.mark.parametrize("name", AFFINES)
def test_a_small_structure_in_much_background_is_where_invertd_puts_it(name: str) -> None:
    transform = preprocess()
    data = transform({"image": scan(AFFINES[name])})
    logits = logits_for(data["image"], 3, True)
    inside = torch.zeros(logits.shape[1:], dtype=torch.bool)
    inside[tuple(slice(n // 3, n // 3 + 4) for n in inside.shape)] = True
    logits[0, ~inside] += 100
    data["pred"] = logits
    expected = Invertd("pred", transform, "image", nearest_interp=False, to_tensor=True)(data)["pred"].argmax(0).numpy()
    restored = RestoreLabelsd("pred")(data)["pred"].numpy()[0]
    assert 5 < (expected != 0).sum() < 0.05 * expected.size
    assert (restored != expected).sum() <= 1


def test_one_scan_in_two_axis_orders_gives_the_same_labels() -> None:
    straight = scan(AFFINES["RAS"])
    turned = MetaTensor(straight.as_tensor().permute(2, 0, 1).flip(1), meta={"original_channel_dim": float("nan")})
    affine = AFFINES["RAS"][:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * 39
    affine[:3, 1] *= -1
    turned.affine = torch.as_tensor(affine)
    turned.meta.update({"original_affine": affine, "spatial_shape": np.array(turned.shape)})
    found = []
    for image in (straight, turned):
        data = preprocess()({"image": image})
        data["pred"] = logits_for(data["image"], 5, True)
        found.append(RestoreLabelsd("pred")(data)["pred"].as_tensor()[0])
    assert torch.equal(found[0].permute(2, 0, 1).flip(1), found[1])


def test_values_of_the_labels_and_memory_order() -> None:
    data = preprocess()({"image": scan(AFFINES["RAS"])})
    data["pred"] = logits_for(data["image"], 3, True)
    plain = RestoreLabelsd("pred")(data)["pred"].numpy()[0]
    named = RestoreLabelsd("pred", values=[0, 7, 3])(data)["pred"].numpy()[0]
    assert np.array_equal(named, np.array([0, 7, 3], dtype=np.uint8)[plain])
    assert named.flags.f_contiguous


def test_needs_to_know_the_source() -> None:
    with pytest.raises(ValueError, match="grid it came from"):
        RestoreLabelsd("pred")({"pred": torch.zeros(2, 4, 4, 4), "image": torch.zeros(1, 4, 4, 4)})


def test_two_at_a_time_leave_the_number_of_threads_as_it_was():
    """The second begins while the first restores, and ends after it; what threads get that start later is what was set last."""
    before, given = torch.get_num_threads(), []
    first_within, second_within, first_over = (threading.Event() for _ in range(3))

    def first():
        restore_labels._share_out(lambda _: (first_within.set(), second_within.wait(20)), [0])
        first_over.set()

    def second():
        assert first_within.wait(20)
        given.append(torch.get_num_threads())
        restore_labels._share_out(lambda _: (second_within.set(), first_over.wait(20), seen.append(torch.get_num_threads())), [0])

    try:
        torch.set_num_threads(3)
        seen: list[int] = []
        pair = [threading.Thread(target=one) for one in (first, second)]
        for one in pair:
            one.start()
        for one in pair:
            one.join()
        assert first_over.is_set() and seen == [1]
        later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert given == [3] and seen == [1, 3]
    finally:
        torch.set_num_threads(before)
