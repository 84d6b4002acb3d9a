"""Cropping to labels: what there is to keep, and how much around it."""

import pytest
import torch
from monai.transforms import CropForegroundd

from bundle.labels import one_of
from bundle.transforms import labelled_or_all, margin_voxels


def test_what_is_not_background_or_everything():
    label = torch.zeros(1, 2, 3, 2, dtype=torch.uint8)
    assert labelled_or_all(label).all() and labelled_or_all(label).shape == label.shape
    label[0, 1, 2, 0] = 3
    assert labelled_or_all(label).nonzero().tolist() == [[0, 1, 2, 0]]


def test_what_was_left_open_is_no_structure():
    """The background of a partly labelled case: with it the box was the whole scan."""
    label = torch.full((1, 2, 3, 2), one_of([2, 3]), dtype=torch.uint8)
    assert labelled_or_all(label).all()
    label[0, 1, 2, 0] = 1
    assert labelled_or_all(label).nonzero().tolist() == [[0, 1, 2, 0]]


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 3.0, 3.0), (1.0, 0.75, 5.0)])
def test_a_margin_is_a_length(spacing):
    got = margin_voxels(96, spacing)
    assert got == {2.0: [48, 48, 48], 3.0: [32, 32, 32], 1.0: [96, 128, 19]}[spacing[0]]


def test_scans_without_foreground_stay_whole_and_others_are_cropped_as_before():
    options = {"keys": ["image", "label"], "source_key": "label", "allow_smaller": True, "start_coord_key": None, "end_coord_key": None}
    ours = CropForegroundd(**options, select_fn=labelled_or_all, margin=margin_voxels(4, (2.0, 2.0, 2.0)))
    image, label = torch.rand(1, 12, 10, 9), torch.zeros(1, 12, 10, 9, dtype=torch.uint8)
    whole = ours({"image": image, "label": label})
    assert torch.equal(whole["image"], image) and torch.equal(whole["label"], label)
    label[0, 5, 4:6, 8] = 2
    got, former = ours({"image": image, "label": label}), CropForegroundd(**options, margin=2)({"image": image, "label": label})
    assert torch.equal(got["image"], former["image"]) and torch.equal(got["label"], former["label"])
    assert torch.equal(got["image"], image[:, 3:8, 2:8, 6:])
