"""Values of label files to channels: exact on hand-made maps."""

import pytest
import torch
from monai.data import MetaTensor

from bundle.errors import UserError
from bundle.transforms import MapLabels, MapLabelsd

LABELS = {"background": 0, "pancreas": 7, "kidney": [3, 200]}


def test_values_become_channels_and_lists_are_merged():
    out = MapLabels(LABELS)(torch.tensor([[0.0, 7.0, 3.0, 200.0]]))
    assert out.dtype == torch.uint8
    assert out.tolist() == [[0, 1, 2, 2]]


def test_unlisted_values_name_file_values_and_fix():
    label = MetaTensor(torch.tensor([[0, 9, 12, 7]]), meta={"filename_or_obj": "case_3.nii"})
    with pytest.raises(UserError, match=r"case_3\.nii.*\[9, 12\].*\[0, 3, 7, 200\].*background"):
        MapLabelsd("label", LABELS)({"label": label})


def test_unlisted_values_as_background():
    out = MapLabels(LABELS, unlisted="background")(torch.tensor([0, 9, -4, 300, 7, 200]))
    assert out.tolist() == [0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("value", [-1, 256, 263])
def test_values_outside_a_byte_do_not_wrap_around(value):
    """263 is 7 in a byte, the pancreas: it must not pass for it."""
    with pytest.raises(UserError, match=str(value)):
        MapLabels(LABELS)(torch.tensor([value]))


def test_fractions_are_refused():
    with pytest.raises(UserError, match=r"not whole numbers \(such as 0.5\)"):
        MapLabels(LABELS)(torch.tensor([0.5, 7.0]))


def test_metadata_and_other_keys_stay():
    label = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
    image = torch.ones(1)
    out = MapLabelsd("label", LABELS)({"label": label, "image": image})
    assert isinstance(out["label"], MetaTensor) and out["label"].affine[0, 0] == 2
    assert out["image"] is image


def test_wrong_choice_for_unlisted():
    with pytest.raises(ValueError, match="unlisted"):
        MapLabels(LABELS, unlisted="drop")


def test_values_a_hair_off_are_the_whole_number():
    """What scaling and resampling leave: 0.99999994 is 1, as in the check and in scoring; 0.998 is not."""
    block = {"background": 0, "pancreas": 1, "spleen": 3}
    assert MapLabels(block)(torch.tensor([0.99999994, 3.0000002, 0.0004, 2.9995])).tolist() == [1, 2, 0, 2]
    with pytest.raises(UserError, match=r"such as 0.998"):
        MapLabels(block)(torch.tensor([1.0, 0.998]))
