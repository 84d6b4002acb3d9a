"""Weights that are not those of the network or of its settings: what is said, and what may differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bundle.errors import UserError
from bundle.networks import AttentionUnet
from bundle.networks.weights import load_weights

LABELS = {"background": [0, 3], "spleen": 2, "pancreas": 1}
SETTINGS = {"labels": LABELS, "channels": None, "spacing": [2.0, 2.0, 2.0], "hu_range": [-200, 300]}
PET = [{"name": "ct", "kind": "ct"}, {"name": "pet", "kind": "pet"}]
MR = [{"name": "ct", "kind": "ct"}, {"name": "t1", "kind": "mr"}, {"name": "t2", "kind": "mr"}]


def unet(classes: int = 3, channels: tuple[int, ...] = (4, 8), in_channels: int = 1, part: Sequence[int] | None = None) -> AttentionUnet:
    return AttentionUnet(2, in_channels, classes, channels, num_gates=1, classes=part)


def saved(path: Path, network: torch.nn.Module, **settings: Any) -> Path:
    torch.save({"model": network.state_dict(), "epoch": 1, "settings": {**SETTINGS, **settings}}, path)
    return path


def test_weights_of_another_number_of_classes_point_to_the_labels(tmp_path: Path) -> None:
    torch.save(unet(3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        load_weights(unet(4), tmp_path / "w.pt")
    expected = "these weights have 3 classes, the network has 4. Fix: give --labels as in training."
    assert str(caught.value) == f"{tmp_path / 'w.pt'}: {expected}"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        # all sizes by hand: the centre has 8 channels in the file, 16 in the network
        (unet(3, (4, 16)), r"tensors have other sizes, such as centre\.\S+: \[8, 4, 3, 3\], in the network \[16, 4, 3, 3\]"),
        (unet(3, (4, 8, 16)), r"tensors missing, such as "),
        (torch.nn.Linear(2, 1), r"2 tensors missing, such as weight; \d+ tensors more, such as encoder"),
    ],
)
def test_of_another_network_is_said_in_whole_words(tmp_path: Path, other: torch.nn.Module, told: str) -> None:
    torch.save(unet(3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"another network \(.*{told}.*\)\. Fix: set network_def as it was in training\.") as caught:
        load_weights(other, tmp_path / "w.pt")
    assert "\n" not in str(caught.value) and "torch.Size" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"labels": {"background": 0, "pancreas": 1, "spleen": 2}},
            "these weights were trained with the labels ['background', 'spleen', 'pancreas'], "
            "and not ['background', 'pancreas', 'spleen']. "
            "Fix: give --labels \"{'background': [0, 3], 'spleen': 2, 'pancreas': 1}\", as in training, or other weights.",
        ),
        ({"labels": {"background": 0, "spleen": 2, "liver": 1}}, "and not ['background', 'spleen', 'liver']. Fix: give --labels"),
        ({"labels": {"background": 0, "spleen": 2, "pancreas": 1, "kidney": 3}}, "'pancreas', 'kidney']. Fix: give --labels"),
        (
            {"hu_range": [-100, 240]},
            "these weights were trained with the hu_range [-200, 300], and not [-100, 240]. "
            'Fix: give --hu_range "[-200, 300]", as in training, or other weights.',
        ),
    ],
)
def test_other_settings_than_those_of_the_training_are_one_line(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    path = saved(tmp_path / "last.pt", unet(3))
    wanted = {"labels": LABELS, "hu_range": [-200, 300], **given}
    for paths in (path, [path]):
        with pytest.raises(UserError) as caught:
            load_weights(unet(3), paths, **wanted)
        assert str(caught.value).startswith(f"{path}: ") and told in str(caught.value) and "\n" not in str(caught.value)


def test_channels_in_another_order_or_of_another_range_are_refused_and_other_names_not(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.pt", unet(3, in_channels=3), channels=MR)
    load_weights(unet(3, in_channels=3), path, channels=MR)
    load_weights(unet(3, in_channels=3), path, channels=[MR[0], {"name": "a", "kind": "mr"}, {"name": "b", "kind": "mr"}])
    with pytest.raises(UserError, match="trained with the channels"):
        load_weights(unet(3, in_channels=3), path, channels=[MR[0], MR[2], MR[1]])
    path = saved(tmp_path / "last.pt", unet(3, in_channels=2), channels=PET)
    with pytest.raises(UserError, match="trained with the channels"):
        load_weights(unet(3, in_channels=2), path, channels=[PET[0], {**PET[1], "range": [0, 10]}])
    # one CT, written out
    load_weights(unet(3), saved(tmp_path / "last.pt", unet(3)), channels=PET[:1])


def test_what_an_inference_may_change(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.pt", unet(3))
    # the values of label maps
    load_weights(unet(3), path, labels={"background": 0, "spleen": 7, "pancreas": [9, 4]}, hu_range=(-200.0, 300.0), channels=None)
    # some of the classes: the labels are of these
    load_weights(unet(3, part=[0, 2]), path, labels={"background": 0, "pancreas": 1})
    with pytest.raises(UserError, match="trained with the labels"):
        load_weights(unet(3, part=[0, 2]), path, labels={"background": 0, "spleen": 1})
    # a training of some of the classes has written their labels
    path = saved(tmp_path / "part.pt", unet(3), labels={"background": 0, "pancreas": 1})
    load_weights(unet(3, part=[0, 2]), path, labels={"background": 0, "pancreas": 1})


@pytest.mark.parametrize("settings", [{}, None, "text", {"labels": "text"}])
def test_a_file_that_says_nothing_is_taken(tmp_path: Path, settings: Any) -> None:
    torch.save({"model": unet(3).state_dict(), "settings": settings}, tmp_path / "w.pt")
    load_weights(unet(3), tmp_path / "w.pt", labels={"background": 0, "pancreas": 1, "spleen": 2}, hu_range=[0, 1], channels=None)
