"""ShapePriord: moments of boxes by hand, pieces out of place, notes on volume and shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bundle.errors import UserError
from bundle.transforms import KeepPiecesd, ShapePriord
from bundle.transforms.keep_pieces import LEFT_OUT
from bundle.transforms.shape_prior import NOTES, pieces_of

LABELS = {"background": 0, "spleen": 1, "kidney": 2}
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def entry(ml: float, axes: list[float], pieces: int, place: dict[str, list[list[float]]]) -> dict:
    """Statistics of 20 cases: a tenth of variation in volume and length, 10 mm in place."""
    modes = {
        other: [{"mean_mm": mean, "covariance_mm2": np.diag([100.0] * 3).tolist()} for mean in means] for other, means in place.items()
    }
    return {
        "cases": 20,
        "pieces": pieces,
        "log_ml": {"mean": float(np.log(ml)), "sd": 0.1},
        "log_axes_mm": {"mean": np.log(axes).tolist(), "sd": [0.1] * 3},
        "place": modes,
    }


@pytest.fixture
def prior(tmp_path: Path) -> str:
    """A spleen of 10x10x10 voxels, 60 mm left of the middle between two kidneys of 5x5x10 voxels, each 40 mm from it."""
    spleen = entry(8.0, [2 * np.sqrt(5 * 400 / 12)] * 3, 1, {"kidney": [[-60.0, 0.0, 30.0]]})
    axes = [2 * np.sqrt(5 * 400 / 12), *[2 * np.sqrt(5 * 100 / 12)] * 2]
    kidney = entry(4.0, axes, 2, {"spleen": [[20.0, 0.0, -30.0], [100.0, 0.0, -30.0]]})
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps({"cases": 20, "structures": {"spleen": spleen, "kidney": kidney}}), encoding="utf-8")
    return str(path)


def abdomen() -> np.ndarray:
    labels = np.zeros((100, 40, 80), np.uint8)
    labels[15:25, 15:25, 40:50] = 1
    labels[27:32, 18:23, 25:35] = 2
    labels[67:72, 18:23, 25:35] = 2
    return labels


def cleaned(labels: np.ndarray, prior: str | None) -> MetaTensor:
    return ShapePriord("pred", prior, LABELS)({"pred": MetaTensor(torch.from_numpy(labels)[None], affine=AFFINE)})["pred"]


def test_moments_of_a_box_are_those_of_the_solid() -> None:
    """A box of length a has the variance a^2 / 12 along its side; an ellipsoid of axis L has L^2 / 20."""
    mask = np.zeros((30, 20, 20), bool)
    mask[3:13, 4:8, 2:4] = True
    mask[20, 15, 15] = True
    (box, voxel), numbered = pieces_of(mask, np.diag([2.0, 1.0, 3.0, 1.0]), (5, 0, 0))
    assert (box.voxels, voxel.voxels) == (80, 1) and (numbered == box.number).sum() == 80
    np.testing.assert_allclose(box.centre, [2 * (5 + 7.5), 5.5, 3 * 2.5])
    np.testing.assert_allclose(box.covariance, np.diag([20.0**2, 4.0**2, 6.0**2]) / 12, atol=1e-9)
    np.testing.assert_allclose(box.axes_mm, np.sqrt(20 / 12) * np.array([20.0, 6.0, 4.0]))


def test_a_usual_label_map_stays_and_nothing_is_noted(prior: str) -> None:
    labels = abdomen()
    found = cleaned(labels, prior)
    assert np.array_equal(found[0], labels) and found.meta[NOTES] == [] and sum(found.meta[LEFT_OUT].values()) == 0
    assert np.array_equal(cleaned(labels, None)[0], labels)


def test_a_piece_out_of_place_goes_and_a_fragment_near_its_organ_stays(prior: str) -> None:
    """At four standard deviations of 10 mm, 40 mm: 36 voxels of spleen beyond 40 mm go, those within it stay."""
    labels = abdomen()
    labels[20, 20, 54:57] = 1
    labels[20:23, 20:23, 71:75] = 1
    found = cleaned(labels, prior)
    expected = abdomen()
    expected[20, 20, 54:57] = 1
    assert np.array_equal(found[0], expected)
    assert found.meta[LEFT_OUT] == {1: 36} and found.meta[NOTES] == []
    assert np.array_equal(found, KeepPiecesd("pred", {}, LABELS)({"pred": found})["pred"])


def test_the_piece_nearest_to_its_place_stays_and_is_noted(prior: str) -> None:
    labels = abdomen()
    labels[labels == 1] = 0
    labels[80:90, 15:25, 40:50] = 1
    found = cleaned(labels, prior)
    assert (found[0] == 1).sum() == 1000
    words = [text for _, text in found.meta[NOTES]]
    assert "spleen: its place is unlike that of the 20 cases of the training set" in words


def test_volume_and_shape_are_noted_by_their_own_figures(prior: str) -> None:
    """t(19) at 0.0005 is 3.883; times sqrt(21 / 20) and 0.1, exp(+-0.3979): 5.4 to 11.9 ml; lengths likewise."""
    labels = abdomen()
    labels[15:25, 15:25, 40:60] = 1
    found = cleaned(labels, prior)
    assert [text for _, text in found.meta[NOTES]] == [
        "spleen: 16 ml (20 cases of the training set: 5 to 12 ml)",
        "spleen: its axes of 52, 26, 26 mm are unlike those of the 20 cases of the training set",
    ]
    # at the border of the scan it may be cut off: no word about its size
    cut = cleaned(labels[:, :, :60], prior)
    assert cut.meta[NOTES] == []


def test_alone_a_structure_has_no_place(prior: str) -> None:
    labels = np.where(abdomen() == 1, 1, 0).astype(np.uint8)
    labels[80:83, 20, 20] = 1
    assert np.array_equal(cleaned(labels, prior)[0], labels)


@pytest.mark.parametrize("content", ["{}", '{"structures": {"spleen": {"place": {}}}}', "[]", '{"structures": {"spleen": 3}}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="bundle shapes"):
        ShapePriord("pred", str(path), LABELS)


def test_a_prior_of_other_structures_is_refused(prior: str) -> None:
    with pytest.raises(UserError, match=r"shapes\.json: it is about spleen, kidney, and the labels are liver"):
        ShapePriord("pred", prior, {"background": 0, "liver": 1})
