"""Channels on the first one's grid: values by hand, each kind by its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ResampleToMatch

from bundle.errors import UserError
from bundle.transforms import AddChannelsd
from bundle.transforms.normalize_body import NormalizeBody

BLOCK = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


def _affine(edge: float, *origin: float) -> torch.Tensor:
    affine = torch.diag(torch.tensor([edge, edge, edge, 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return affine


def _image(shape: tuple[int, ...] = (6, 6, 6)) -> MetaTensor:
    """2 mm voxels from 0 mm; it knows where it came from."""
    values = torch.arange(float(np.prod(shape))).reshape(1, *shape)
    operations = [{"extra_info": {"src_affine": torch.eye(4)}, "orig_size": (3, 3, 3)}]
    meta = {"filename_or_obj": "ct.nii.gz", "spatial_shape": np.array(shape)}
    return MetaTensor(values, affine=_affine(2, 0, 0, 0), meta=meta, applied_operations=operations)


def _added(volume: MetaTensor, block: list = BLOCK, image: MetaTensor | None = None) -> MetaTensor:
    image = _image() if image is None else image
    done = AddChannelsd("image", channels=block)({"image": image, "channels": {block[1]["name"]: volume}, "case": "a"})
    assert set(done) == {"image", "case"}
    return done["image"]


def test_a_ramp_is_read_where_it_is() -> None:
    """SUV equal to x in mm, on 4 mm voxels from -4 mm: at 0, 2, ..., 10 mm it is 0, 2, ..., 10, a fifth of which the network sees."""
    ramp = (torch.arange(8.0) * 4 - 4).clamp(min=0)[:, None, None].expand(8, 8, 8)
    done = _added(MetaTensor(ramp.clone(), affine=_affine(4, -4, -4, -4)))
    assert done.shape == (2, 6, 6, 6) and done.dtype == torch.float32
    assert torch.allclose(done[1, :, 3, 3].as_tensor(), torch.tensor([0.0, 2, 4, 6, 8, 10]) / 5, atol=1e-5)
    assert torch.equal(done[0].as_tensor(), _image()[0].as_tensor())


def test_the_image_still_knows_where_it_came_from() -> None:
    done = _added(MetaTensor(torch.ones(4, 4, 4), affine=_affine(4, 0, 0, 0)))
    assert done.meta["filename_or_obj"] == "ct.nii.gz" and done.applied_operations[0]["orig_size"] == (3, 3, 3)
    assert torch.equal(done.affine, _image().affine)


def test_values_are_monais_for_a_grid_that_is_turned() -> None:
    """Against MONAI's own transform, axes swapped and turned round."""
    generator = torch.Generator().manual_seed(0)
    affine = torch.tensor([[0, -3.0, 0, 12], [0, 0, 2.5, -1], [4.0, 0, 0, -2], [0, 0, 0, 1]], dtype=torch.float64)
    volume = MetaTensor(torch.rand(5, 6, 7, generator=generator) * 30, affine=affine)
    theirs = ResampleToMatch(mode="bilinear", padding_mode="zeros")(MetaTensor(volume[None], affine=affine), _image())
    assert torch.allclose(_added(volume)[1].as_tensor(), theirs[0].as_tensor().float().clamp(0, 20) / 5, atol=1e-4)


def test_ranges_and_what_is_outside() -> None:
    """SUV above 20 are 20; where the PET does not reach nothing is taken up."""
    done = _added(MetaTensor(torch.full((2, 8, 8), 50.0), affine=_affine(2, 0, -2, -2)))
    assert torch.allclose(done[1, :2].as_tensor(), torch.tensor(4.0)) and not done[1, 3:].any()
    block = [BLOCK[0], {**BLOCK[1], "range": [10, 40]}]
    assert float(_added(MetaTensor(torch.full((8, 8, 8), 50.0), affine=_affine(2, -2, -2, -2)), block)[1].max()) == 6.0


def test_each_kind_by_its_own_rule() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(6, 6, 6, generator=generator) * 500 - 250
    for kind, wanted in (
        ("ct", NormalizeBody()(values)),
        ("plain", values),
        ("mr", (values - values.mean()) / values.std(correction=0)),
    ):
        done = _added(MetaTensor(values.clone(), affine=_affine(2, 0, 0, 0)), [BLOCK[0], {"name": "more", "kind": kind}])
        assert torch.allclose(done[1].as_tensor(), wanted, atol=1e-3), kind
    # outside a second CT is air, which is the lowest value that the network sees
    done = _added(MetaTensor(values[:3].clone(), affine=_affine(2, 0, 0, 0)), [BLOCK[0], {"name": "late", "kind": "ct"}])
    assert float(done[1, 5].max()) == float(done[1].min())


def test_a_channel_somewhere_else_is_one_line() -> None:
    volume = MetaTensor(torch.ones(4, 4, 4), affine=_affine(2, 100, 0, 0), meta={"filename_or_obj": "pet.nii.gz"})
    with pytest.raises(UserError, match=r"pet.nii.gz: the pet has no place in common with the body in the CT \(4x4x4 voxels of 2x2x2 mm"):
        _added(volume)


def test_a_channel_that_was_not_loaded_is_one_line() -> None:
    with pytest.raises(UserError, match=r"ct.nii.gz: the channel pet was not loaded with it"):
        AddChannelsd("image", channels=BLOCK)({"image": _image()})
