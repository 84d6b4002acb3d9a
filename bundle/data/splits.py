"""Which case is in which split: a function of the case names and a seed only, so the same on every machine.

Cases are put in the order of `sha256("seed:name")`; neither the order of the folder, nor Python's hash seed, nor numpy's
generator has a say. The first `test_size` of that order are the test set, the next `train_size` the pool of training and
validation (further ones are left out), and fold k of the pool is every `num_folds`-th case from the k-th on, so that folds
differ by one case at most. Test set and pool are the same for every fold.

Cases of one group (scans of one patient) are never torn apart: the order is then that of the groups' names, and a group goes
whole to the test set, to the pool, and to the fold that has the fewest cases so far.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bundle.errors import UserError, counted

SECTIONS = ("training", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Which cases are trained on and which are held out: one object, the same for training and for scoring.

    Args:
        fold: which fold is the validation set, from 0.
        num_folds: into how many folds the pool falls. 1 trains on the whole pool, and validation then lists the test cases:
            report the last checkpoint in that case, not the best one.
        seed: another seed gives other folds and another test set.
        with_test: set `num_folds`-th part of all cases aside as a test set; without meaning where `test_size` is given.
        train_size: size of the pool of training and validation together; None takes all that is left.
        test_size: how many cases are the test set; None means no test set (or see `with_test`).

    Raises:
        UserError: a value of another type, or one that is out of range.
    """

    fold: int = 0
    num_folds: int = 5
    seed: int = 0
    with_test: bool = False
    train_size: int | None = None
    test_size: int | None = None

    def __post_init__(self) -> None:
        least = {"num_folds": 1, "fold": 0, "train_size": 1, "test_size": 0, "seed": None}
        for key, low in least.items():
            value = getattr(self, key)
            if value is None and key in ("train_size", "test_size"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
                raise UserError(key, f"its value is {value!r}", f"use a whole number{'' if low is None else f' from {low} up'}")
        if not isinstance(self.with_test, bool):
            raise UserError("with_test", f"its value is {self.with_test!r}", "use true or false")

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> Split:
        """A split from the `split` block of a config; a key that does not belong there is a `UserError`."""
        known = tuple(cls.__dataclass_fields__)
        strange = [key for key in keys if key not in known]
        if strange:
            raise UserError("split", f"has the unknown key '{strange[0]}'", f"use {', '.join(known)}")
        return cls(**keys)

    @property
    def held_out(self) -> str:
        """The section that an experiment scores: what no fold was trained on."""
        return "test" if self.num_folds == 1 else "validation"

    def keys(self) -> list[str]:
        """The names of the values; with `__getitem__` this makes `**split` work."""
        return list(asdict(self))

    def __getitem__(self, key: str) -> Any:
        return asdict(self)[key]


def shuffled(names: Sequence[str], seed: int = 0) -> list[str]:
    """`names` in an order that depends on the names and `seed` only, not on the order they come in."""
    # names of files may hold bytes that are no UTF-8
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest(), name))


def split(names: Sequence[str], wanted: Split, groups: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Training, validation and test cases of one fold, each sorted by name.

    Args:
        names: names of the cases, each once.
        wanted: the sizes, the number of folds, and the fold.
        groups: name of the group a case belongs to, for cases that do.

    Raises:
        UserError: when the sizes or the number of folds do not fit the number of cases.
    """
    num_folds, train_size, test_size = wanted.num_folds, wanted.train_size, wanted.test_size
    if wanted.fold >= num_folds:
        problem = f"fold {wanted.fold} is asked for, of {counted(num_folds, 'fold')}"
        raise UserError("fold", problem, f"folds count from 0: use 0{f' to {num_folds - 1}' if num_folds > 1 else ''}")
    if num_folds == 1 and not test_size:
        raise UserError("num_folds", "1 fold leaves no case for validation", "use 2 or more, or give a test_size")
    members: dict[str, list[str]] = {}
    for name in sorted(names):
        members.setdefault((groups or {}).get(name, name), []).append(name)
    order = [members[group] for group in shuffled(list(members), wanted.seed)]
    if test_size is None:
        test_size, must = (len(names) // max(num_folds, 2) if wanted.with_test else 0), None
    else:
        must = "test_size"
    if test_size + (train_size or 0) > len(names):
        there = counted(len(names), "labelled case")
        problem = f"{train_size or 0} training and {test_size} test cases are asked for, but the data set has {there}"
        raise UserError("train_size, test_size", problem, "ask for fewer, or add labelled cases")
    test, order = _take(order, test_size, must)
    pool, _ = _take(order, len(names) if train_size is None else train_size, "train_size" if train_size is not None else None)
    if num_folds == 1:
        return _sorted(_flat(pool), _flat(test), _flat(test))
    if len(pool) < num_folds:
        raise _too_few(pool, bool(test), num_folds)
    validation = _folds(pool, num_folds)[wanted.fold]
    chosen = set(validation)
    return _sorted([name for name in _flat(pool) if name not in chosen], validation, _flat(test))


def _take(order: list[list[str]], size: int, key: str | None) -> tuple[list[list[str]], list[list[str]]]:
    """The first groups of `order` that make `size` cases together, and the others; `key` names the size where it must be met."""
    taken: list[list[str]] = []
    left: list[list[str]] = []
    for group in order:
        (taken if sum(map(len, taken)) + len(group) <= size else left).append(group)
    if key and sum(map(len, taken)) < size:
        fix = f"use {sum(map(len, taken))}"
        raise UserError(key, f"{counted(size, 'case')} cannot be selected without splitting a group (one patient's scans)", fix)
    return taken, left


def _folds(pool: list[list[str]], num_folds: int) -> list[list[str]]:
    """Every group to the fold with the fewest cases; groups of one go to the folds in turn."""
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    for group in pool:
        min(folds, key=len).extend(group)
    return folds


def _too_few(pool: list[list[str]], with_test: bool, num_folds: int) -> UserError:
    number = len(pool)
    what = counted(number, "labelled case" if number == len(_flat(pool)) else "patient")
    problem = f"{counted(num_folds, 'fold')} cannot be made of {what}{' besides the test set' if with_test else ''}"
    fewer = f", or set num_folds to {number}{' or less' if number > 2 else ''}" if number > 1 else ""
    return UserError("num_folds", problem, f"add labelled cases{fewer}")


def _flat(groups: list[list[str]]) -> list[str]:
    return [name for group in groups for name in group]


def _sorted(training: list[str], validation: list[str], test: list[str]) -> dict[str, list[str]]:
    return {name: sorted(cases) for name, cases in zip(SECTIONS, (training, validation, test), strict=True)}
