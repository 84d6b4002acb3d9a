"""Values of label files to channels: exact on hand-made maps."""

import pytest
import torch
from monai.data import MetaTensor
from monai.losses import DiceCELoss

from bundle.errors import UserError
from bundle.losses import PartialLabelLoss
from bundle.transforms import CloseLabelsd, MapLabels, MapLabelsd

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


def test_values_that_leave_open_what_a_voxel_is():
    """200 + 55 may be anything: bits of both structures; 9 may be kidney, the second."""
    out = MapLabels(LABELS, may_be={"255": ["pancreas", "kidney"], 9: ["kidney"]})(torch.tensor([0, 255, 9, 7]))
    assert out.tolist() == [0, 128 + 1 + 2, 128 + 2, 1]


@pytest.mark.parametrize(
    ("may_be", "words"),
    [({"255": ["liver"]}, r"\['liver'\] is no structure"), ({"7": ["kidney"]}, "7 is a value of the `labels` block")],
)
def test_values_left_open_that_contradict_the_labels(may_be, words):
    with pytest.raises(UserError, match=words):
        MapLabels(LABELS, may_be=may_be)


def test_a_case_that_has_some_structures_leaves_the_others_open_in_its_background():
    data = {"label": torch.tensor([0, 7, 3]), "labelled": ["pancreas"]}
    out = MapLabelsd("label", LABELS)(data)
    assert out["label"].tolist() == [128 + 2, 1, 2] and "labelled" not in out and "labelled" in data
    whole = MapLabelsd("label", LABELS)({"label": torch.tensor([0, 7, 3]), "labelled": ["kidney", "pancreas"]})
    assert whole["label"].tolist() == [0, 1, 2]


def test_what_may_be_background_may_be_a_structure_that_the_case_leaves_out():
    """9 is kidney or background, and the case has no labels of the pancreas: it may be that as well."""
    data = {"label": torch.tensor([0, 9, 3]), "labelled": ["kidney"]}
    assert MapLabelsd("label", LABELS, may_be={"9": ["kidney"]})(data)["label"].tolist() == [128 + 1, 128 + 1 + 2, 2]
    with pytest.raises(UserError, match="label: is listed as labelled for liver, which labels has not"):
        MapLabelsd("label", LABELS)({"label": torch.tensor([0]), "labelled": ["liver"]})


def test_metrics_see_background_where_it_was_left_open():
    label = MetaTensor(torch.tensor([[0, 1, 129, 131, 2]], dtype=torch.uint8), meta={"filename_or_obj": "a.nii"})
    out = CloseLabelsd("label", LABELS)({"label": label})["label"]
    assert out.tolist() == [[0, 1, 0, 0, 2]] and out.dtype == torch.uint8 and out.meta["filename_or_obj"] == "a.nii"
    assert label.tolist() == [[0, 1, 129, 131, 2]]


def test_of_many_structures_only_the_first_can_be_left_open():
    many = {"background": 0, **{f"s{value}": value for value in range(1, 10)}}
    assert MapLabels(many, may_be={"255": ["s7"]})(torch.tensor([255])).tolist() == [128 + 64]
    with pytest.raises(UserError, match="s8 is left open"):
        MapLabels(many, may_be={"255": ["s8"]})
    with pytest.raises(UserError, match=r"a\.nii: s9 is left open"):
        MapLabels(many)(torch.tensor([0, 1]), where="a.nii", labelled=[f"s{value}" for value in range(1, 9)])


def test_with_two_hundred_structures_high_values_are_structures():
    many = {"background": 0, **{f"s{value}": value for value in range(1, 200)}}
    label = MapLabels(many)(torch.tensor([0, 127, 128, 199]))
    assert CloseLabelsd("label", many)({"label": label})["label"].tolist() == [0, 127, 128, 199]
    logits = torch.zeros(1, 200, 1, 1, 4)
    plain = DiceCELoss(to_onehot_y=True, softmax=True)
    assert torch.equal(PartialLabelLoss(plain)(logits, label.view(1, 1, 1, 1, 4)), plain(logits, label.view(1, 1, 1, 1, 4)))
