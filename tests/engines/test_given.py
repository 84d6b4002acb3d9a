"""What `segment` takes for a network of several channels, and overlays: the label map of the command line each time."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from small_scans import AFFINE, body, nifti

from bundle.channels import Block
from bundle.engines import segment
from bundle.engines.given import entry
from bundle.errors import UserError
from bundle.networks import AttentionUnet

BLOCK: Block = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A folder with a CT and a PET, and the voxels of the PET with their affine, a grid of its own."""
    folder = tmp_path_factory.mktemp("pair")
    affine = AFFINE @ np.diag([2, 2, 2, 1])
    suv = np.random.default_rng(0).gamma(1, 3, [n // 2 for n in body().shape]).astype(np.float32)
    nifti(folder / "a_CT.nii.gz", body(), AFFINE)
    nifti(folder / "a_PET.nii.gz", suv, affine, np.float32)
    return folder, suv, affine


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict:
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(AttentionUnet(in_channels=2, out_channels=2, channels=(4, 4, 8)).state_dict(), path)
    return {"overlays": "pet_ct", "ckpt_path": str(path), "network_def#channels": [4, 4, 8], "precision": "fp32", "keep_pieces": {}}


def test_channels_one_by_one_give_what_their_folder_gives(case: tuple, options: dict) -> None:
    folder, suv, affine = case
    ct, pet = folder / "a_CT.nii.gz", folder / "a_PET.nii.gz"
    labels = segment(folder, **options)
    assert labels.shape == body().shape and 0 < labels.mean() < 1
    arrays = {"pet": suv, "ct": body()}
    for image, affines in (
        ({"ct": ct, "pet": str(pet)}, None),
        (arrays, {"ct": AFFINE, "pet": affine}),
        ({"ct": nibabel.load(ct), "pet": pet}, None),
        ({"ct": str(ct), "pet": torch.from_numpy(suv)}, {"pet": affine}),
    ):
        assert np.array_equal(segment(image, affines, **options), labels)
    assert not np.array_equal(segment({**arrays, "pet": 0 * suv}, {"ct": AFFINE, "pet": affine}, **options), labels), "the PET counts"
    several = segment([[ct, pet], (body(), suv), {"ct": ct, "pet": pet}], [None, (AFFINE, affine), None], **options)
    assert len(several) == 3 and all(np.array_equal(one, labels) for one in several)
    found = segment({"ct": ct, "pet": pet}, details=True, **options)
    assert found.source == str(ct) and np.array_equal(found.labels, labels)
    assert found["tumour"].mean_hu == pytest.approx(body()[labels == 1].mean())


def test_numbers_of_other_kinds_stay_numbers() -> None:
    """No air in a PET: what is not a number is 0; one affine is that of all arrays."""
    suv = np.full((4, 4, 4), 2.5)
    suv[0, 0, 0] = np.nan
    found = entry([np.zeros((4, 4, 4), np.int16), suv], AFFINE, BLOCK)
    pet = found["channels"]["pet"]
    assert pet.dtype == torch.float32 and pet[0, 0, 0] == 0 and pet[1, 0, 0] == 2.5
    assert np.allclose(pet.affine, AFFINE) and np.allclose(found["image"].affine, AFFINE) and found["image"].dtype == torch.int16


def test_mistakes_are_one_line(case: tuple, options: dict) -> None:
    folder, suv, affine = case
    ct = folder / "a_CT.nii.gz"
    with pytest.raises(UserError, match=r"image: it has ct, and the network takes 2 channels \(ct, pet\). Fix: give an image for each"):
        segment({"ct": ct}, **options)
    with pytest.raises(UserError, match="it has a list of 3, and the network takes 2"):
        segment([[ct, ct, ct]], **options)
    with pytest.raises(UserError, match="affine: an array does not say how large"):
        segment({"ct": ct, "pet": suv}, **options)
    with pytest.raises(UserError, match=r"it has ct, pet, and the network takes 1 channel \(ct\). Fix: give one image, or the channels"):
        segment({"ct": ct, "pet": ct})
    with pytest.raises(UserError, match="the pet has no place in common"):
        moved = affine.copy()
        moved[:3, 3] += 5000
        segment({"ct": ct, "pet": suv}, {"pet": moved}, **options)


def test_overlays_are_those_of_the_command_line(tmp_path: Path) -> None:
    path = nifti(tmp_path / "scan.nii.gz")
    torch.manual_seed(4)
    torch.save(AttentionUnet(channels=(4, 4, 8)).state_dict(), tmp_path / "model.pt")
    small = {"ckpt_path": str(tmp_path / "model.pt"), "network_def#channels": [4, 4, 8], "precision": "fp32", "keep_pieces": {}}
    whole = segment(path, **small)
    # this scan is too short to be looked at along the body
    assert np.array_equal(segment(path, overlays="cascade", **small), whole)
    with pytest.raises(UserError, match=r"box: .*'q'"):
        segment(path, overlays=["cascade"], box="q", **small)
    with pytest.raises(UserError, match=r"box: this is not a key of configs/inference\.json"):
        segment(path, box="z", **small)
    with pytest.raises(UserError, match=r"cascade_box\.json: .* Fix: give cascade.json before it"):
        segment(path, overlays="cascade_box", **small)
    with pytest.raises(UserError, match="overlays: a classifier gives no label map"):
        segment(path, overlays="inference_classify", ckpt_path=small["ckpt_path"])
    with pytest.raises(UserError, match="cascades: there is no such config"):
        segment(path, overlays="cascades", **small)


def test_the_cascade_segments_inside_the_box_of_its_look(tmp_path: Path) -> None:
    """The stand-in for the look finds the bright box of `body`, from a quarter of each axis to its half."""
    path = nifti(tmp_path / "scan.nii.gz")
    torch.manual_seed(5)
    torch.save(AttentionUnet(channels=(4, 4, 8)).state_dict(), tmp_path / "model.pt")
    small = {"ckpt_path": str(tmp_path / "model.pt"), "network_def#channels": [4, 4, 8], "precision": "fp32", "keep_pieces": {}}
    look = {"overlays": ["cascade"], "coarse_look#_target_": "looks.Above", "box": "xyz", "box_margin": 0}
    found = segment(path, **look, **small)
    box = tuple(slice(n // 4, n // 2) for n in body().shape)
    assert found[box].any() and np.count_nonzero(found) == np.count_nonzero(found[box])
    assert np.count_nonzero(segment(path, **small)) > np.count_nonzero(found)
    told = segment(path, details=True, **look, **small)
    assert np.array_equal(told.labels, found) and any("box" in reason for reason in told.reasons)
