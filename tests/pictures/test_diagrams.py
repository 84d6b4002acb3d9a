import numpy as np
import pytest
from PIL import Image

from bundle.errors import UserError
from bundle.pictures.diagrams import diagrams, levels


def test_levels_are_those_of_the_paper() -> None:
    rows = levels((16, 32, 64, 128, 256), 2)
    assert [row["channels"] for row in rows] == [16, 32, 64, 128, 256]
    # no gate on the finest skip, none on the centre
    assert [row["gates"] for row in rows] == [0, 2, 2, 2, 0]
    assert [row["grid"] for row in rows] == ["full", "1/2", "1/4", "1/8", "1/16"]


def test_pictures_differ_with_the_network(tmp_path) -> None:
    gated = diagrams(str(tmp_path / "a"), channels=(4, 8, 16), num_gates=2)
    plain = diagrams(str(tmp_path / "b"), channels=(4, 8, 16), num_gates=0)
    first, second = (np.asarray(Image.open(paths[0]).convert("RGB")) for paths in (gated, plain))
    orange = np.array([253, 174, 107])
    assert (np.abs(first.astype(int) - orange).max(-1) < 4).any(), "gates are drawn in orange"
    assert not (np.abs(second.astype(int) - orange).max(-1) < 4).any(), "the plain U-Net has none"


def test_a_wrong_argument_is_one_line() -> None:
    with pytest.raises(UserError, match="num_gates is -1"):
        diagrams(num_gates=-1)
