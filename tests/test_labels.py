"""The `labels` block: order, merged values, and the mistakes people make in it."""

from __future__ import annotations

import pytest

from bundle import labels
from bundle.errors import UserError

MERGED = {"background": [0, 7], "pancreas": 4, "kidney": [2, 3]}


def test_names_values_and_output_values_follow_the_order_of_the_block():
    assert labels.names(MERGED) == ["background", "pancreas", "kidney"]
    assert labels.values(MERGED) == [[0, 7], [4], [2, 3]]
    assert labels.output_values(MERGED) == [0, 4, 2]
    assert labels.channel_def(MERGED) == {"0": "background", "1": "pancreas", "2": "kidney"}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"background": 0}, "fewer than two"),
        ({"pancreas": 1, "background": 0}, "first entry is 'pancreas'"),
        ({"background": 0, "pancreas": 1.5}, "1.5"),
        ({"background": 0, "pancreas": True}, "True"),
        ({"background": 0, "pancreas": 256}, "256"),
        ({"background": 0, "pancreas": "1"}, "'1'"),
        ({"background": 0, "pancreas": []}, "'pancreas' has no value"),
        ({"background": 0, "pancreas": 2, "kidney": [1, 2]}, "share the value 2"),
    ],
)
def test_mistakes_are_named(block, words):
    with pytest.raises(UserError, match="labels") as error:
        labels.check(block)
    assert words in str(error.value)
