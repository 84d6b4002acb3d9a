"""Kinds of values: type and range, values in the form that a key needs, and what is said where one does not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bundle.arguments.kinds import Wrong, device, mixed_precision, number, one_of, part, pieces, rising, several, switch, whole


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (whole(1), {3: 3, 1: 1}, [0, -1, 1.0, True, "3", None]),
        (whole(0, optional=True), {0: 0, None: None}, [-1, "None"]),
        (whole(), {-5: -5, 0: 0}, [0.5]),
        (whole(0, most=9), {0: 0, 9: 9}, [-1, 10]),
        (number(above=0), {0.5: 0.5, 3: 3}, [0, -1, math.inf, math.nan, True, "1"]),
        (number(least=0, below=1), {0: 0, 0.99: 0.99}, [1, -0.1]),
        (number(least=0, most=1, optional=True), {1: 1, None: None}, [1.01]),
        (several(whole(1), 3, "three"), {(1, 2, 3): [1, 2, 3]}, [(1, 2), 5, "1,2,3", (1, 2, 0)]),
        (several(whole(1), None, "some"), {(7,): [7]}, [()]),
        (one_of("a", "b"), {"a": "a"}, ["c", None]),
        (switch, {True: True, "false": False, "TRUE": True, "0": False}, ["yes", None, 2, ""]),
        (mixed_precision, {"auto": "auto", "true": True, False: False}, ["bf16"]),
        (rising, {(-200, 300): [-200, 300]}, [(300, -200), (1, 1), (1,), 5]),
        (part, {None: None, "3/8": "3/8"}, ["0/8", "3", 0.375]),
        (pieces, {None: None, 2: 2, 0.1: 0.1, 3.0: 3.0}, [0, -1, 1.5, True, "2"]),
        (device, {"cpu": "cpu"}, ["gpu", "cuda:99", 1.5, "hpu"]),
    ],
)
def test_each_kind_takes_what_it_says_and_nothing_else(kind: Callable[[Any], Any], good: dict, bad: list) -> None:
    for value, expected in good.items():
        found = kind(value)
        assert found == expected and type(found) is type(expected)
    for value in bad:
        with pytest.raises(Wrong):
            kind(value)


def test_what_would_be_right_is_said_with_its_bounds() -> None:
    for kind, said in (
        (number(above=0, below=1), "a number above 0 below 1"),
        (number(least=0, most=1, optional=True), "a number from 0 up to 1, or None"),
        (whole(2), "a whole number from 2 up"),
        (one_of("a", 3), "one of a, 3"),
    ):
        with pytest.raises(Wrong) as wrong:
            kind("x")
        assert str(wrong.value) == said


def test_pieces_may_differ_from_structure_to_structure() -> None:
    assert pieces({"kidney": 2, "spleen": 0.5}) == {"kidney": 2, "spleen": 0.5}
    with pytest.raises(Wrong):
        pieces({"kidney": 2, "spleen": -1})
