"""What speaks against a case: nothing for an ordinary one, the right words and the right order for damaged ones."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.quality.measure import Structure, measure_structures
from bundle.quality.review import judge


def organ(name: str, volume: float = 200.0, centre=(0.0, 0.0, 0.0), **options) -> Structure:
    values = dict(mean_hu=100.0, centroid_mm=centre, touches_border=False, components=1, piece_ml=(volume,)) | options
    return Structure(name, volume, **values)


def ordinary() -> dict[str, Structure]:
    """Volumes and positions near the mean of 14 expert label maps."""
    return {
        "pancreas": organ("pancreas", 76.0, (-30.0, 40.0, 0.0)),
        "spleen": organ("spleen", 275.0, (-113.0, -16.0, 36.0)),
        "kidney": organ("kidney", 360.0, (0.0, -20.0, -20.0), components=2, piece_ml=(185.0, 175.0)),
    }


def test_an_ordinary_case_has_no_reason_and_the_full_score():
    judgement = judge(ordinary())
    assert (judgement.reasons, judgement.score, judgement.review) == ([], 1.0, False)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("pancreas", {"volume_ml": 9.0, "piece_ml": (9.0,)}, "pancreas: 9.00 ml (usual in adults: 20 to 150 ml)"),
        ("spleen", {"volume_ml": 900.0, "piece_ml": (900.0,)}, "spleen: 900 ml (usual in adults: 50 to 600 ml)"),
        ("kidney", {"mean_hu": -75.0}, "kidney: mean -75 HU (usual in adults: -40 to 300 HU)"),
        ("pancreas", {"components": 3, "piece_ml": (57.0, 15.2, 3.8)}, "pancreas: 3 pieces, 25% of it apart from the main part"),
        ("spleen", {"touches_border": True}, "spleen: reaches the border of the scan, may be cut off"),
        ("kidney", {"components": 3, "piece_ml": (170.0, 150.0, 40.0)}, "kidney: 3 pieces, 11% of it apart from the main part"),
    ],
)
def test_each_reason_is_given_in_words_and_costs_score(name, change, words):
    measured = ordinary()
    for key, value in change.items():
        setattr(measured[name], key, value)
    judgement = judge(measured)
    assert judgement.reasons == [words]
    assert judgement.score < 1.0


def test_a_structure_not_found_takes_its_share_of_the_score():
    measured = ordinary() | {"pancreas": Structure("pancreas", 0.0)}
    judgement = judge(measured)
    assert judgement.reasons == ["pancreas: not found"]
    assert judgement.score == pytest.approx(2 / 3)


def test_left_and_right_swapped_is_seen_from_positions():
    measured = ordinary()
    for structure in measured.values():
        x, y, z = structure.centroid_mm
        structure.centroid_mm = (-x, y, z)
    reasons = judge(measured).reasons
    assert "spleen: its centre is 83 mm to the right of the pancreas (usual in adults: 20 to 160 mm to the left)" in reasons


def test_the_words_of_a_position_have_its_sides():
    left = organ("left kidney", 150.0, (-70.0, -20.0, -20.0))
    for centre, words in (
        ((-80.0, 40.0, 0.0), "pancreas: its centre is 10 mm to the left of the left kidney (usual in adults: 5 to 150 mm to the right)"),
        ((-30.0, -40.0, 0.0), "pancreas: its centre is 20 mm behind the left kidney (usual in adults: 5 to 140 mm in front)"),
    ):
        assert judge({"pancreas": organ("pancreas", 76.0, centre), "left kidney": left}).reasons == [words]
    low = {"spleen": organ("spleen", 275.0, (-100.0, -20.0, -40.0)), "left kidney": left}
    assert judge(low).reasons == ["spleen: its centre is 20 mm below the left kidney (usual in adults: 15 mm below to 170 mm above)"]


def test_the_score_follows_the_expected_dice_else_the_mean_confidence():
    measured = ordinary()
    assert judge(measured, confidence={"pancreas": (0.9, 0.4)}).score == pytest.approx((0.9 + 1 + 1) / 3)
    assert judge(measured, confidence={"pancreas": (0.9, 0.4, 0.7)}).score == pytest.approx((0.7 + 1 + 1) / 3)
    assert judge(measured, confidence={"pancreas": (0.9, 0.4, 0.7)}).reasons == ["pancreas: the network itself expects a Dice of 0.70"]
    assert judge(measured, confidence={"pancreas": (0.9, 0.4, 0.7, True)}).reasons == []
    assert judge(measured, confidence={"pancreas": (0.9, 0.4, 0.69, True)}).reasons == ["pancreas: a Dice of 0.69 is expected"]
    assert judge(measured, confidence={"pancreas": (0.8, 0.4)}).reasons == ["pancreas: mean confidence 0.80"]
    assert judge(measured, confidence={"pancreas": (0.8, 0.4, 0.75, True)}).reasons == [], "an expected Dice says more"


def test_flips_that_disagree_are_a_reason():
    judgement = judge(ordinary(), flip_disagreement={"pancreas": 0.4, "spleen": 0.05})
    assert judgement.reasons == ["pancreas: 40% disagreement when the scan is flipped"]
    assert judgement.score == pytest.approx((0.6 + 1 + 1) / 3)


def test_what_is_odd_about_the_scan_weighs_on_all_and_the_gravest_comes_first():
    measured = ordinary()
    measured["spleen"].touches_border = True
    judgement = judge(measured, scan=[(0.5, "noise"), (0.2, "no HU")])
    assert judgement.reasons == ["no HU", "noise", "spleen: reaches the border of the scan, may be cut off"]
    assert judgement.score == pytest.approx(0.1 * (1 + 0.95 + 1) / 3)


def test_the_training_sets_ranges_replace_the_literatures():
    ranges = {"cases": 20, "structures": {"pancreas": {"volume_ml": [5.0, 10.0]}}, "offsets_mm": {}}
    assert judge(ordinary(), ranges=ranges).reasons == ["pancreas: 76.0 ml (usual in the training set: 5 to 10 ml)"]
    assert judge(ordinary(), ranges={"pancreas": (5.0, 10.0)}).reasons[0].startswith("pancreas: 76.0 ml")


def test_structures_that_nobody_knows_are_judged_by_pieces_and_border_alone():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[2:4, 2:4, 2:4] = 9
    assert judge(measure_structures(labels, np.eye(4), {"background": 0, "tumour": 9})).reasons == []


@pytest.mark.shared_data
@pytest.mark.parametrize("part", [slice(8, 12), pytest.param(slice(None), marks=pytest.mark.slow)], ids=["four", "all"])
def test_expert_label_maps_are_not_flagged(shared_data, part):
    import nibabel

    structures = {"spleen": 1, "pancreas": 2, "left kidney": 3, "liver": 6}
    flagged = []
    for path in sorted((shared_data / "labels" / "multiorgan").glob("*.nii.gz"))[part]:
        image = nibabel.load(path)
        judgement = judge(measure_structures(np.asanyarray(image.dataobj).astype(np.uint8), image.affine, structures))
        flagged += [f"{path.name}: {reason}" for reason in judgement.reasons]
    assert flagged == []


def test_small_pieces_that_were_left_out_speak_against_a_structure_as_before():
    one = {"pancreas": organ("pancreas", 76.0, (10.0, 0.0, 0.0), components=1, piece_ml=(76.0,))}
    assert judge(one).reasons == []
    judgement = judge(one, left_out_ml={"pancreas": 4.0})
    assert judgement.reasons == ["pancreas: more pieces, 5% of it apart from the main part, 4.00 ml left out"]
    assert judgement.score == pytest.approx(1 - 0.05 / 2)
    assert judge(one, left_out_ml={"pancreas": 2.0}).reasons == []
