"""Splits: the same everywhere, balanced, disjoint."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import pytest

from bundle.data.splits import Split, shuffled
from bundle.data.splits import split as split_names
from bundle.errors import UserError

NAMES = [f"case_{number:03d}" for number in range(23)]


def split(names: list[str], groups: dict[str, str] | None = None, **keys: Any) -> dict[str, list[str]]:
    """The split of these names by the values of a config."""
    return split_names(names, Split.of(keys), groups)


def test_order_is_that_of_the_hash_written_down_here():
    by_hand = sorted(["a", "b", "c", "d"], key=lambda name: hashlib.sha256(f"7:{name}".encode()).hexdigest())
    assert shuffled(["d", "c", "b", "a"], seed=7) == by_hand


def test_names_of_bytes_that_are_no_utf_8_have_a_place() -> None:
    """As Python reads a file called by another code page, or as JSON may have it."""
    names = [b"f\xfc.nii".decode("utf-8", "surrogateescape"), "f\ud800.nii", "plain"]
    assert sorted(shuffled(names)) == sorted(names) and shuffled(names) == shuffled(names[::-1])


def test_known_split_never_changes():
    """Literal names: a change here moves cases between the splits of everybody's experiments."""
    assert split([f"case_{number}" for number in range(6)], num_folds=3, fold=1, seed=0) == KNOWN


KNOWN = {"training": ["case_1", "case_2", "case_3", "case_4"], "validation": ["case_0", "case_5"], "test": []}


def test_folds_cover_all_cases_once_and_are_balanced():
    folds = [split(NAMES, fold=fold, num_folds=5, seed=3) for fold in range(5)]
    assert sorted(name for fold in folds for name in fold["validation"]) == NAMES
    assert sorted(len(fold["validation"]) for fold in folds) == [4, 4, 5, 5, 5]
    for fold in folds:
        assert sorted(fold["training"] + fold["validation"]) == NAMES


def test_independent_of_the_order_of_names_and_of_python_hashing():
    command = "from bundle.data.splits import Split, split; print(split([f'case_{n:03d}' for n in range(23)], Split(seed=5)))"
    expected = str(split(NAMES[::-1], seed=5))
    for hash_seed in ("0", "1"):
        out = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed})
        assert out.stdout.strip() == expected


def test_another_seed_gives_another_split():
    assert split(NAMES, seed=0)["validation"] != split(NAMES, seed=1)["validation"]


def test_protocol_sizes_keep_the_test_set_over_folds():
    names = [f"{number:04d}" for number in range(150)]
    folds = [split(names, fold=fold, num_folds=6, train_size=120, test_size=30) for fold in range(6)]
    assert {tuple(fold["test"]) for fold in folds} == {tuple(folds[0]["test"])}
    for fold in folds:
        assert [len(fold[section]) for section in ("training", "validation", "test")] == [100, 20, 30]
        assert sorted(fold["training"] + fold["validation"] + fold["test"]) == names


def test_fewer_training_cases_keep_the_test_set():
    names = [f"{number:04d}" for number in range(150)]
    many, few = (split(names, num_folds=5, train_size=size, test_size=30) for size in (120, 30))
    assert many["test"] == few["test"]
    assert set(few["training"] + few["validation"]) < set(many["training"] + many["validation"])
    assert len(few["training"]) == 24 and len(few["validation"]) == 6


def test_one_fold_trains_on_the_whole_pool_and_watches_the_test_set():
    sections = split(NAMES, num_folds=1, test_size=5)
    assert len(sections["training"]) == 18 and sections["validation"] == sections["test"] and len(sections["test"]) == 5


def test_with_test_sets_one_part_aside():
    sections = split(NAMES[:20], num_folds=5, with_test=True)
    assert [len(sections[section]) for section in ("training", "validation", "test")] == [12, 4, 4]
    assert sorted(name for part in sections.values() for name in part) == NAMES[:20]


def test_scans_of_one_patient_stay_together():
    names = [f"p{patient:02d}_{scan}" for patient in range(12) for scan in range(1 + patient % 3)]
    groups = {name: name[:3] for name in names}
    folds = [split(names, fold=fold, num_folds=4, seed=2, test_size=5, groups=groups) for fold in range(4)]
    for fold in folds:
        patients = [{groups[name] for name in fold[part]} for part in ("training", "validation", "test")]
        assert not patients[0] & patients[1] and not (patients[0] | patients[1]) & patients[2]
        assert sorted(fold["training"] + fold["validation"] + fold["test"]) == names and len(fold["test"]) == 5
    sizes = [len(fold["validation"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 3  # the largest group


def test_groups_of_one_are_no_groups():
    assert split(NAMES, seed=4, groups={name: name for name in NAMES}) == split(NAMES, seed=4)


def test_a_group_that_cannot_be_torn():
    with pytest.raises(UserError, match="test_size: 1 case cannot be selected without splitting a group"):
        split(["a1", "a2", "b1", "b2"], test_size=1, num_folds=2, groups={"a1": "a", "a2": "a", "b1": "b", "b2": "b"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_folds": 30}, "30 folds cannot be made of 23 labelled cases"),
        ({"fold": 5, "num_folds": 5}, "fold 5 is asked for, of 5 folds. Fix: folds count from 0: use 0 to 4"),
        ({"fold": 1, "num_folds": 1}, r"fold 1 is asked for, of 1 fold\. Fix: folds count from 0: use 0\."),
        ({"num_folds": 0}, "its value is 0"),
        ({"num_folds": 1}, "1 fold leaves no case for validation"),
        ({"train_size": 20, "test_size": 4}, "20 training and 4 test cases are asked for, but the data set has 23"),
        ({"test_size": 24}, "0 training and 24 test cases are asked for"),
        ({"fold": True}, "its value is True"),
        ({"seed": "x"}, "seed: its value is 'x'"),
        ({"with_test": "False"}, "with_test: its value is 'False'"),
        ({"train_size": 20.5}, "train_size: its value is 20.5"),
        ({"folds": 3}, "split: has the unknown key 'folds'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(UserError, match=said):
        split(NAMES, **arguments)


def test_a_split_is_a_value_that_unpacks():
    wanted = Split(fold=1, num_folds=3, seed=2, with_test=True, train_size=12, test_size=None)
    assert Split.of(dict(**wanted)) == wanted and hash(wanted) == hash(Split(**wanted))
    assert (Split(num_folds=1, test_size=2).held_out, wanted.held_out) == ("test", "validation")
