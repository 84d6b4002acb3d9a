"""Schedules that go on: the learning rates of an interrupted training are those of one that was not, epoch by epoch."""

import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as schedules

from bundle.errors import UserError
from bundle.handlers.training.schedule import ScheduleStart, plain

PATH = Path("last.pt")
# worse from epoch 2 on, so that a plateau of patience 2 is met in the middle of both halves
SCORES = [0.5, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]


def sequential(optimizer, total=8):
    parts = [schedules.LinearLR(optimizer, 0.25, total_iters=2), schedules.PolynomialLR(optimizer, total, power=0.9)]
    return schedules.SequentialLR(optimizer, parts, [2])


def sequential_steps(optimizer):
    parts = [schedules.ConstantLR(optimizer, 0.5, 7), schedules.MultiStepLR(optimizer, [1, 2], 0.1)]
    return schedules.SequentialLR(optimizer, parts, [7])


def chained(optimizer, gamma=0.9):
    return schedules.ChainedScheduler([schedules.ConstantLR(optimizer, 0.1, 7), schedules.ExponentialLR(optimizer, gamma)])


def plateau(optimizer, factor=0.5):
    return schedules.ReduceLROnPlateau(optimizer, factor=factor, patience=2)


def warm_restarts(optimizer, period=3):
    return schedules.CosineAnnealingWarmRestarts(optimizer, period)


def one_cycle(optimizer, total=11):
    return schedules.OneCycleLR(optimizer, 0.4, total)


def cyclic(optimizer):
    return schedules.CyclicLR(optimizer, 0.01, 0.1, step_size_up=3, cycle_momentum=True)


def multi_step(optimizer, milestones=(3, 8)):
    return schedules.MultiStepLR(optimizer, milestones, 0.1)


def by_function(optimizer):
    return schedules.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))


def step_lr(optimizer, size=4):
    return schedules.StepLR(optimizer, size, 0.1)


def polynomial(optimizer, total=10):
    return schedules.PolynomialLR(optimizer, total, 0.9)


class Run:
    """Ten epochs of SGD on one weight, in parts; `kept` is what a file of the training would hold."""

    def __init__(self, schedule, kept=None, **numbers):
        weight = torch.nn.Parameter(torch.ones(1))
        self.optimizer = torch.optim.SGD([weight], **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-6, **numbers})
        self.scheduler = schedule(self.optimizer) if schedule else None
        self.start = ScheduleStart(self.optimizer, self.scheduler)
        weight.grad = torch.ones(1)
        if kept is not None:
            self.optimizer.load_state_dict(kept["optimizer"])
            self.start.restore(kept.get("start"), kept["lr_scheduler"], PATH)

    def epochs(self, first, last):
        """The learning rate and the momentum that each of these epochs is trained with."""
        rates = []
        for epoch in range(first, last):
            rates.append((self.optimizer.param_groups[0]["lr"], self.optimizer.param_groups[0]["momentum"]))
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step(*([SCORES[epoch]] if isinstance(self.scheduler, schedules.ReduceLROnPlateau) else []))
        return rates

    def kept(self):
        schedule = None if self.scheduler is None else plain(self.scheduler.state_dict())
        return {"optimizer": self.optimizer.state_dict(), "lr_scheduler": schedule, "start": self.start.state_dict()}


def former(kept):
    """As it was kept before the start was."""
    return {name: value for name, value in kept.items() if name != "start"}


ALL = [sequential, sequential_steps, chained, plateau, warm_restarts, one_cycle, cyclic, multi_step, by_function, step_lr, polynomial]


@pytest.mark.parametrize("cut", [1, 2, 5, 8])
@pytest.mark.parametrize("schedule", ALL)
def test_an_interrupted_training_has_the_learning_rates_of_a_whole_one(schedule, cut, tmp_path):
    whole = Run(schedule).epochs(0, 10)
    first = Run(schedule)
    before = first.epochs(0, cut)
    torch.save(first.kept(), tmp_path / "last.pt")
    resumed = Run(schedule, torch.load(tmp_path / "last.pt", weights_only=True))
    middle = resumed.epochs(cut, 9)
    # and once more
    assert before + middle + Run(schedule, resumed.kept()).epochs(9, 10) == whole


def test_the_plateau_above_is_met_in_both_halves():
    rates = [rate for rate, _ in Run(plateau).epochs(0, 10)]
    assert rates == pytest.approx([0.1] * 5 + [0.05] * 3 + [0.025] * 2)


@pytest.mark.parametrize(
    ("schedule", "other"),
    [
        (sequential, lambda optimizer: sequential(optimizer, 20)),
        (chained, lambda optimizer: chained(optimizer, 0.5)),
        (warm_restarts, lambda optimizer: warm_restarts(optimizer, 4)),
        (one_cycle, lambda optimizer: one_cycle(optimizer, 20)),
        (multi_step, lambda optimizer: multi_step(optimizer, (6, 8))),
        (step_lr, lambda optimizer: step_lr(optimizer, 3)),
        (step_lr, sequential),
        (plateau, step_lr),
        (polynomial, lambda optimizer: polynomial(optimizer, 20)),
    ],
)
@pytest.mark.parametrize("cut", [1, 5, 8])
def test_another_schedule_goes_on_as_if_it_had_been_there_from_the_beginning(schedule, other, cut, caplog):
    whole = Run(other).epochs(0, 10)[cut:]
    first = Run(schedule)
    first.epochs(0, cut)
    with caplog.at_level(logging.INFO):
        resumed = Run(other, first.kept())
    assert resumed.epochs(cut, 10) == whole
    assert "the schedule goes on with other settings: " in caplog.text


def test_a_schedule_that_ends_before_the_steps_that_were_taken_is_refused():
    first = Run(one_cycle)
    first.epochs(0, 8)
    with pytest.raises(UserError, match=r"last\.pt: 8 steps of the schedule were taken, and this one ends before .*as many steps"):
        Run(lambda optimizer: one_cycle(optimizer, 4), first.kept())


def test_another_learning_rate_goes_on_with_the_schedule():
    first = Run(polynomial)
    first.epochs(0, 5)
    rates = Run(polynomial, first.kept(), lr=0.2).epochs(5, 10)
    assert [rate for rate, _ in rates] == pytest.approx([0.2 * (1 - epoch / 10) ** 0.9 for epoch in range(5, 10)])


@pytest.mark.parametrize(
    ("other", "numbers", "told"),
    [
        (lambda optimizer: plateau(optimizer, 0.25), {}, "factor was 0.5, is 0.25 now"),
        (plateau, {"lr": 0.2}, "lr was [0.1], is [0.2] now"),
    ],
)
def test_a_schedule_that_follows_scores_is_refused_with_other_settings(other, numbers, told):
    first = Run(plateau)
    first.epochs(0, 5)
    with pytest.raises(UserError, match=r"last\.pt: .*cannot go on with another schedule: .* Fix: resume with the former") as caught:
        Run(other, first.kept(), **numbers)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_schedule_of_counts_cannot_turn_into_one_of_scores():
    first = Run(step_lr)
    first.epochs(0, 5)
    with pytest.raises(UserError, match="it was StepLR, is ReduceLROnPlateau now"):
        Run(plateau, first.kept())


def test_numbers_of_the_optimizer_go_on_with_the_new_value():
    first = Run(step_lr)
    first.epochs(0, 5)
    for kept in (first.kept(), former(first.kept())):
        resumed = Run(step_lr, kept, weight_decay=0.1)
        group = resumed.optimizer.param_groups[0]
        assert (group["weight_decay"], group["lr"]) == (0.1, pytest.approx(0.01))
        assert resumed.epochs(5, 10) == Run(step_lr).epochs(0, 10)[5:]


def test_without_a_schedule_too():
    first = Run(None)
    first.epochs(0, 2)
    first.optimizer.param_groups[0]["lr"] = 0.07  # by a handler of the user's own
    assert Run(None, first.kept()).epochs(2, 3) == [(0.07, 0.9)]
    assert Run(None, first.kept(), lr=0.2, momentum=0.5).epochs(2, 3) == [(0.2, 0.5)]
    assert Run(None, former(first.kept()), lr=0.2).epochs(2, 3) == [(0.07, 0.9)]


@pytest.mark.parametrize("schedule", [schedule for schedule in ALL if schedule is not plateau])
def test_files_without_a_start_go_on(schedule):
    first = Run(schedule)
    first.epochs(0, 5)
    whole = Run(schedule).epochs(0, 10)[5:]
    got = Run(schedule, former(first.kept())).epochs(5, 10)
    assert [rate for rate, _ in got] == pytest.approx([rate for rate, _ in whole], rel=1e-12)


def test_a_plateau_without_a_start_begins_its_patience_again(caplog):
    first = Run(plateau)
    first.epochs(0, 4)
    resumed = Run(plateau, former(first.kept()))
    assert resumed.scheduler.last_epoch == 4 and resumed.scheduler.num_bad_epochs == 0
    assert "written by an earlier version" in caplog.text
    assert [rate for rate, _ in resumed.epochs(4, 9)] == pytest.approx([0.1] * 4 + [0.05])


def test_what_is_not_plain_keeps_its_type():
    first = Run(multi_step)
    first.epochs(0, 5)
    milestones = Run(multi_step, first.kept()).scheduler.milestones
    assert isinstance(milestones, Counter) and milestones == {3: 1, 8: 1}


def test_plain_leaves_out_functions():
    assert plain({"a": (1, [2.5, None]), "f": len, 3: {"g": len, "b": True}}) == {"a": [1, [2.5, None]], 3: {"b": True}}
