"""KeepPiecesd on hand-made pieces."""

from __future__ import annotations

import pytest
import torch

from bundle.errors import UserError
from bundle.transforms import KeepPiecesd

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


def test_nothing_asked_nothing_changed_and_absent_structures_are_no_matter() -> None:
    assert torch.equal(KeepPiecesd("pred", {}, LABELS)({"pred": pieces()})["pred"], pieces())
    empty = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    assert torch.equal(KeepPiecesd("pred", {"spleen": 1}, LABELS)({"pred": empty})["pred"], empty)


@pytest.mark.parametrize("pieces_", [{"liver": 1}, {"background": 1}, {"kidney": 0}, {"kidney": True}])
def test_nonsense_is_refused(pieces_: dict) -> None:
    with pytest.raises(UserError, match="keep_pieces"):
        KeepPiecesd("pred", pieces_, LABELS)
