"""Parts of a run: read from the command line or from Slurm, planned once for all machines, and none forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.errors import UserError
from bundle.results.parts import Part, Parts, counts, digest_part, even_parts, part_of, told, whole_run


def slurm(**values: int) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_a_part_is_what_was_typed_else_slurms() -> None:
    array = slurm(ID=2, MIN=0, MAX=7, COUNT=8, STEP=1)
    assert part_of("3/8", array) == Part(3, 8, "--part")
    assert str(part_of(None, array)) == "3/8" and "ID=2 of 0 to 7" in part_of(None, array).origin
    assert part_of(None, {}) == Part(1, 1, "")
    assert str(part_of("1/1", array)) == "1/1", "an array whose tasks share everything"


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (slurm(ID=1, MIN=1, MAX=8, COUNT=8), "1/8"),
        (slurm(ID=14, MIN=0, MAX=14, COUNT=8, STEP=2), "8/8"),
        (slurm(ID=5, MIN=3, MAX=6), "3/4"),
        (slurm(ID=4, MIN=4, MAX=4, COUNT=1), "1/1"),
        # --array=1,3,7: nobody says which of three task 3 is; all three share everything instead of leaving something out
        (slurm(ID=3, MIN=1, MAX=7, COUNT=3, STEP=1), "1/1"),
        (slurm(ID=3), "1/1"),
    ],
)
def test_arrays_of_slurm(array: dict[str, str], part: str) -> None:
    assert str(part_of(None, array)) == part


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "a/b", "-1/8", "3/8/2", "1.5/8", "", "3/0"])
def test_what_is_not_a_part(text: str) -> None:
    with pytest.raises(UserError, match="is not a part"):
        part_of(text)


def test_parts_are_even_in_bytes_and_the_same_in_any_order() -> None:
    sizes = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 3.0, "e": 3.0}
    # by hand: a to 1; b to 2; c to 2 (5 < 9); d: 9 and 9, 1 has one case and 2 has two: to 1; e to 2 (9 < 12)
    expected = {"a": 1, "b": 2, "c": 2, "d": 1, "e": 2}
    assert even_parts(sizes, 2) == expected == even_parts(dict(reversed(sizes.items())), 2)
    # sizes that nobody knows: the same number of cases each
    assert sorted(even_parts(dict.fromkeys("abcdef", 0.0), 3).values()) == [1, 1, 2, 2, 3, 3]


def test_the_first_plan_holds_for_all_and_new_scans_have_a_place_too(tmp_path: Path) -> None:
    seen = {f"case_{number}": float(number) for number in range(20)}
    first = Parts(tmp_path, 4).plan(seen)
    more = {**seen, "case_7": 9e9, "new": 1.0}
    del more["case_3"]
    second = Parts(tmp_path, 4).plan(more)
    assert {name: second[name] for name in second if name != "new"} == {name: first[name] for name in first if name != "case_3"}
    assert second["new"] == digest_part("new", 4)
    # sha256("new") begins with 11507a0e2f5e69d5 in hexadecimal
    assert digest_part("new", 4) == 0x11507A0E2F5E69D5 % 4 + 1


def test_a_damaged_plan_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundle.results.parts.WRITTEN", 0.0)
    (tmp_path / ".plan_of_4.json").write_text('{"case_1": ')
    with pytest.raises(UserError, match="plan of the parts"):
        Parts(tmp_path, 4).plan({"case_1": 1.0})


def test_unfinished_parts_and_two_runs_of_one_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"settings": {"a": 1}, "started": "2024-01-01T00:00:05+0000", "finished": None}
    one, other = Parts(tmp_path, 3), Parts(tmp_path, 3)
    assert one.begin(1, {"run": run, "process": "7 on here"}) is None
    assert other.unfinished()[1] == "running"
    again = other.begin(1, {"run": run, "process": "8 on here"})
    assert again is not None and again["alive"] and again["process"] == "7 on here"
    other.end(1, {"run": run}, over=False)
    one.end(1, {"run": {**run, "finished": "2024-01-01T00:00:09+0000"}}, over=True)
    two = Parts(tmp_path, 3)
    two.begin(2, {"run": {**run, "started": "2024-01-01T00:00:01+0000"}, "process": "9 on there"})
    two.end(2, {"run": {**run, "started": "2024-01-01T00:00:01+0000"}}, over=False)
    assert one.unfinished() == {2: "stopped before its end (process 9 on there)", 3: "not started"}
    assert told(one.unfinished(), 3) == "part 2 of 3 stopped before its end (process 9 on there); part 3 of 3 not started"
    assert counts(tmp_path) == [3]
    assert whole_run(tmp_path) == {**run, "started": "2024-01-01T00:00:01+0000", "finished": "2024-01-01T00:00:09+0000"}
