"""Every reason that can be given is of the kind that the page calls it."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.quality.measure import Structure
from bundle.quality.reason_kinds import KINDS, SCAN, kind_of
from bundle.quality.review import judge
from bundle.quality.scan_check import check_scan

CENTRE = (0.0, 0.0, 0.0)


def spleen(**changes) -> dict[str, Structure]:
    return {
        "spleen": Structure(**{"name": "spleen", "volume_ml": 200.0, "mean_hu": 110.0, "centroid_mm": CENTRE, "components": 1, **changes})
    }


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("not found", judge(spleen(volume_ml=0.0)).reasons),
        ("volume", judge(spleen(volume_ml=5.0)).reasons + judge(spleen(volume_ml=5000.0)).reasons),
        ("HU", judge(spleen(mean_hu=-300.0)).reasons + judge(spleen(mean_hu=900.0)).reasons),
        ("pieces", judge(spleen(piece_ml=(150.0, 50.0), components=2)).reasons + judge(spleen(), left_out_ml={"spleen": 50.0}).reasons),
        ("at the border", judge(spleen(touches_border=True)).reasons),
        ("position", judge(spleen() | {"liver": Structure("liver", 1300.0, centroid_mm=(-200.0, 0.0, 0.0))}).reasons),
        ("low confidence", judge(spleen(), confidence={"spleen": (0.9, 0.5, 0.6)}).reasons),
        ("low confidence", judge(spleen(), confidence={"spleen": (0.6, 0.5)}).reasons),
        ("flips disagree", judge(spleen(), flip_disagreement={"spleen": 0.4}).reasons),
    ],
)
def test_reasons_about_structures(kind, reasons):
    assert reasons and {kind_of(reason) for reason in reasons} == {kind}
    assert kind in KINDS


def test_reasons_about_the_scan():
    rng = np.random.default_rng(0)
    scans = [np.zeros((30, 30, 30)), np.full((60, 60, 60), np.nan), rng.normal(0, 300, (60, 60, 60)), rng.integers(0, 255, (60, 60, 60))]
    reasons = [reason for scan in scans for _, reason in check_scan(scan.astype(np.float32), np.eye(4), orientation_known=False)]
    assert len(reasons) > 4 and {kind_of(reason) for reason in reasons} == {SCAN}
