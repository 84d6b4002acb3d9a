"""Whether values can be Hounsfield units: each reason against it, on tiny samples worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.data.checks.hounsfield import Values, air_level, not_hounsfield

AIR, FAT, ORGAN, BONE = [-1000] * 60, [-100] * 20, [50] * 18, [900] * 2


def values(*parts: list[float]) -> Values:
    return Values.of(np.array([value for part in parts for value in part], dtype=np.float32))


def test_what_is_known_of_a_sample() -> None:
    found = values(AIR, FAT, ORGAN, BONE)
    assert (found.low, found.high, found.total, found.soft_share) == (-1000, 900, 100, 0.38)
    assert list(found.histogram) == [(-1000, 60), (-100, 20), (50, 18), (900, 2)]
    # -200 and 300 themselves are not soft
    assert values([-200, 300, 0, 299]).soft_share == 0.5


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (values(AIR, FAT, ORGAN, BONE), None),
        (values(AIR, FAT, ORGAN, [255] * 2), None),
        (values([7] * 9), "has the one value 7 everywhere"),
        (values([-0.0] * 9), "has the one value 0 everywhere"),
        (values([-1.5, 0, 2.5]), "looks normalised"),
        (values([0, 100, 255]), "windowed to 8 bits"),
        (values([-128, 0, 127]), "windowed to 8 bits"),
        (values(AIR, [0] * 20, [200] * 20), "windowed to 8 bits"),
        (values([0] * 60, [924] * 20, [1074] * 20), "no value is below 0"),
        (values([-600] * 60, FAT, ORGAN, BONE), "air is at -595 HU instead of -1000"),
        (values([-1000] * 99, [900]), "only 0.0 % of the voxels are soft tissue"),
    ],
)
def test_each_reason_against_hounsfield_units(sample: Values, said: str | None) -> None:
    found = not_hounsfield(sample)
    assert found is None if said is None else said in found[1] and found[0] == ("constant" if "one value" in said else "HU") and found[2]


def test_the_level_of_air_leaves_padding_and_lungs_out() -> None:
    # padding at -2000 is below; lungs at -800 are above the tenth percentile
    assert air_level(values([-2000] * 50, [-990] * 5, [-800] * 40, ORGAN)) == -985.0
    assert air_level(values([-1000], [50] * 100)) is None, "a hundredth of the scan is no air around it"
