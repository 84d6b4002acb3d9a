"""NormalizeBodyd: hand-worked statistics, and air does not change them."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from bundle.transforms import NormalizeBodyd
from bundle.transforms.normalize_body import NormalizeBody


def test_hand_worked_values() -> None:
    # clipped to [-200, 300]: -200, 0, 100, 200, 300; the body is 0, 100, 200, 300: mean 150, sd sqrt(12500)
    image = torch.tensor([[[[-1000.0, 0.0, 100.0, 200.0, 900.0]]]])
    expected = (torch.tensor([-200.0, 0.0, 100.0, 200.0, 300.0]) - 150.0) / 12500**0.5
    assert torch.allclose(NormalizeBody()(image).flatten(), expected, atol=1e-5)
    assert image.flatten().tolist() == [-1000.0, 0.0, 100.0, 200.0, 900.0], "the image given must not change"


def test_more_air_changes_nothing_in_the_body() -> None:
    body = torch.rand(1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 300 - 100
    padded = torch.nn.functional.pad(body, [8] * 6, value=-1024.0)
    assert torch.allclose(NormalizeBody()(padded)[:, 8:16, 8:16, 8:16], NormalizeBody()(body), atol=1e-5)


@pytest.mark.parametrize("value", [-1000.0, 37.3, 5000.0])
def test_constant_images_give_zeros(value: float) -> None:
    assert NormalizeBody()(torch.full((1, 40, 40, 40), value)).abs().max() == 0


def test_not_a_number_counts_as_air_and_the_affine_stays() -> None:
    image = MetaTensor(torch.tensor([[[[float("nan"), 0.0, 100.0]]]]), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
    done = NormalizeBodyd("image")({"image": image})["image"]
    # body 0 and 100: mean 50, sd 50; air at (-200 - 50) / 50
    assert done.flatten().tolist() == [-5.0, -1.0, 1.0]
    assert torch.equal(done.affine, image.affine)


def test_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="hu_range"):
        NormalizeBody((100, 100))
