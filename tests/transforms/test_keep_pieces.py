"""KeepPiecesd on hand-made pieces."""

from __future__ import annotations

import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from bundle.errors import UserError
from bundle.transforms import KeepPiecesd
from bundle.transforms.keep_pieces import LEFT_OUT

LABELS = {"background": 0, "pancreas": 1, "spleen": 2, "kidney": [5, 6]}


def pieces() -> torch.Tensor:
    """Kidneys of 8, 6 and 2 voxels, a spleen of 3 and 1, a pancreas of 4."""
    labels = torch.zeros(1, 20, 6, 6, dtype=torch.uint8)
    labels[0, 0:2, 0:2, 0:2] = 5
    labels[0, 4:7, 0:2, 0] = 5
    labels[0, 9:11, 0, 0] = 5
    labels[0, 12:15, 3, 3] = 2
    labels[0, 17, 3, 3] = 2
    labels[0, 0:4, 5, 5] = 1
    return labels


def test_keeps_as_many_pieces_as_asked_for() -> None:
    given = pieces()
    kept = KeepPiecesd("pred", {"kidney": 2, "spleen": 1}, LABELS)({"pred": given})["pred"]
    assert [(kept == value).sum().item() for value in (1, 2, 5)] == [4, 3, 14]
    assert kept[0, 17, 3, 3] == 0 and kept[0, 9, 0, 0] == 0 and kept[0, 4, 0, 0] == 5
    assert torch.equal(given, pieces()), "the label map given must not change"


def test_keeps_pieces_of_a_share_of_the_largest() -> None:
    # 6 of 8 voxels are kept at 0.7 and dropped at 0.8, 2 of 8 and 1 of 3 are dropped; exactly the share is kept
    kept = {share: KeepPiecesd("pred", {"kidney": share, "spleen": 0.4}, LABELS)({"pred": pieces()})["pred"] for share in (0.7, 0.75, 0.8)}
    assert [(kept[share] == 5).sum().item() for share in kept] == [14, 14, 8]
    assert [(kept[0.7] == value).sum().item() for value in (1, 2)] == [4, 3]


def test_one_number_stands_for_all_structures() -> None:
    kept = KeepPiecesd("pred", 0.3, LABELS)({"pred": pieces()})["pred"]
    assert [(kept == value).sum().item() for value in (1, 2, 5)] == [4, 4, 14]
    for one in (1, 1.0):  # JSON and the command line know both
        kept = KeepPiecesd("pred", one, LABELS)({"pred": pieces()})["pred"]
        assert [(kept == value).sum().item() for value in (1, 2, 5)] == [4, 3, 8]


def test_nothing_asked_nothing_changed_and_absent_structures_are_no_matter() -> None:
    assert torch.equal(KeepPiecesd("pred", {}, LABELS)({"pred": pieces()})["pred"], pieces())
    empty = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    assert torch.equal(KeepPiecesd("pred", {"spleen": 1}, LABELS)({"pred": empty})["pred"], empty)


@pytest.mark.parametrize("pieces_", [{"liver": 1}, {"background": 1}, {"kidney": 0}, {"kidney": True}, {"kidney": 1.5}, 0, 0.0])
def test_nonsense_is_refused(pieces_: dict | float) -> None:
    with pytest.raises(UserError, match="keep_pieces"):
        KeepPiecesd("pred", pieces_, LABELS)


def test_what_was_left_out_is_noted_and_added_up() -> None:
    given = MetaTensor(pieces())
    once = KeepPiecesd("pred", {"kidney": 2}, LABELS)({"pred": given})["pred"]
    twice = KeepPiecesd("pred", {"kidney": 1, "spleen": 1}, LABELS)({"pred": once})["pred"]
    assert once.meta[LEFT_OUT] == {5: 2} and twice.meta[LEFT_OUT] == {5: 8, 2: 1} and LEFT_OUT not in given.meta


def test_pieces_that_touch_by_a_corner_are_one() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[0, 0, 0, 0] = labels[0, 1, 1, 1] = labels[0, 3, 3, 3] = 2
    kept = KeepPiecesd("pred", {"spleen": 1}, LABELS)({"pred": labels})["pred"]
    assert kept.nonzero().tolist() == [[0, 0, 0, 0], [0, 1, 1, 1]]
