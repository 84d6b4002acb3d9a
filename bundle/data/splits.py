"""Which case is in which split: a function of the case names and a seed only, so the same on every machine.

Cases are put in the order of `sha256("seed:name")`; neither the order of the folder, nor Python's hash seed, nor numpy's
generator has a say. The first `test_size` of that order are the test set, the next `train_size` the pool of training and
validation (further ones are left out), and fold k of the pool is every `num_folds`-th case from the k-th on, so that folds
differ by one case at most. Test set and pool are the same for every fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from bundle.errors import UserError

SECTIONS = ("training", "validation", "test")


def shuffled(names: Sequence[str], seed: int = 0) -> list[str]:
    """`names` in an order that depends on the names and `seed` only, not on the order they come in."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def split(
    names: Sequence[str],
    *,
    fold: int = 0,
    num_folds: int = 5,
    seed: int = 0,
    with_test: bool = False,
    train_size: int | None = None,
    test_size: int | None = None,
) -> dict[str, list[str]]:
    """Training, validation and test cases of one fold, each sorted by name.

    Args:
        names: names of the cases, each once.
        fold: which fold is the validation set, from 0.
        num_folds: into how many folds the pool falls. 1 trains on the whole pool, and validation then lists the test cases:
            report the last checkpoint in that case, not the best one.
        seed: another seed gives other folds and another test set.
        with_test: set `num_folds`-th part of all cases aside as a test set; without meaning where `test_size` is given.
        train_size: size of the pool of training and validation together; None takes all that is left.
        test_size: how many cases are the test set; None means no test set (or see `with_test`).

    Raises:
        UserError: when the sizes, the number of folds or the fold do not fit the number of cases.
    """
    _check_numbers(fold=fold, num_folds=num_folds, train_size=train_size, test_size=test_size)
    order = shuffled(names, seed)
    if test_size is None:
        test_size = len(order) // max(num_folds, 2) if with_test else 0
    test, pool = order[:test_size], order[test_size:]
    if test_size + (train_size or 0) > len(order):
        problem = f"{train_size} training and {test_size} test cases are asked for, but the data set has {len(order)} labelled cases"
        raise UserError("train_size, test_size", problem, "ask for fewer, or add labelled cases")
    pool = pool if train_size is None else pool[:train_size]
    if num_folds == 1:
        return _sorted(pool, test, test)
    if len(pool) < num_folds:
        cases = f"{len(pool)} labelled case{'s' if len(pool) != 1 else ''}{' beside the test set' if test else ''}"
        problem = f"{num_folds} folds cannot be made of {cases}"
        fix = (
            f"add labelled cases, or set num_folds to {len(pool)}{' or less' if len(pool) > 2 else ''}"
            if len(pool) > 1
            else "add labelled cases"
        )
        raise UserError("num_folds", problem, fix)
    validation = pool[fold::num_folds]
    chosen = set(validation)
    return _sorted([name for name in pool if name not in chosen], validation, test)


def _check_numbers(*, fold: int, num_folds: int, train_size: int | None, test_size: int | None) -> None:
    for key, value, least in (("num_folds", num_folds, 1), ("fold", fold, 0), ("train_size", train_size, 1), ("test_size", test_size, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise UserError(key, f"its value is {value!r}", f"use a whole number from {least} up")
    if fold >= num_folds:
        raise UserError("fold", f"fold {fold} is asked for, of {num_folds} folds", f"folds count from 0: use 0 to {num_folds - 1}")
    if num_folds == 1 and not test_size:
        raise UserError("num_folds", "1 fold leaves no case for validation", "use 2 or more, or give a test_size")


def _sorted(training: list[str], validation: list[str], test: list[str]) -> dict[str, list[str]]:
    return {name: sorted(cases) for name, cases in zip(SECTIONS, (training, validation, test), strict=True)}
