"""The distance of synthetic from real CT: its features by hand, and distances of clouds whose value is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import synthesis_gap


def test_distance_is_that_of_two_normal_clouds() -> None:
    """Equal clouds are 0 apart; moved by 2 standard deviations along one axis they are 4 apart."""
    rng = np.random.default_rng(0)
    cloud = rng.normal(0, 1, (4000, 3)) * (5.0, 1.0, 0.2)
    basis = synthesis_gap.principal(cloud)
    assert synthesis_gap.distance(cloud, cloud, basis) == pytest.approx(0, abs=1e-3)
    moved = cloud + np.array([2 * cloud[:, 0].std(), 0, 0])
    assert synthesis_gap.distance(moved, cloud, basis) == pytest.approx(4, rel=1e-3)


def test_organ_says_grey_texture_and_what_is_around() -> None:
    """A cube of 50 HU in fat, a plate of 60 HU on one of its six sides."""
    image, mask = np.full((40, 40, 40), -100.0), np.zeros((40, 40, 40), bool)
    mask[10:22, 10:22, 10:22] = True
    image[mask] = 50
    image[::2][mask[::2]] = 52
    image[:, :, 22:26] = 60
    median, deviation, correlation, soft = synthesis_gap.organ(image, mask)
    assert median in (50, 51, 52) and deviation == pytest.approx(1, abs=0.02)
    assert correlation == pytest.approx(-1) and 0.15 < soft < 0.21
    assert synthesis_gap.organ(image, np.zeros_like(mask)) is None


def test_patches_lie_in_the_body() -> None:
    volume = torch.zeros(1, 60, 60, 60)
    volume[:, :, :, 30:] = torch.rand(60, 60, 30) + 1
    found = synthesis_gap.patches(volume, 4, np.random.default_rng(0))
    assert found.shape == (4, 1, 48, 48, 48) and all(float((one > 0).float().mean()) > 0.5 for one in found)
    assert len(synthesis_gap.texture(found[0])) == 12


def test_kinds_are_measured_against_the_real_scans() -> None:
    """A kind that is the real scans themselves is 0 from them, also where another kind is called real."""
    rng = np.random.default_rng(0)
    scans = {name: rng.normal(0, 1, (300, 2)) for name in "abc"}
    cloud = {"CT": scans, "same": scans, "real": {"d": rng.normal(9, 1, (300, 2))}}
    rows = synthesis_gap.kind_rows({"network": cloud, "texture": cloud}, ["same", "real"])
    cells = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[1] for row in rows[2:]}
    assert abs(float(cells["same"])) < 0.05 and float(cells["real"]) > 100
    assert cells["two real scans against the others, mean (least to most)"].startswith("0.0")
