"""A learning-rate schedule, and numbers of an optimizer, that go on where a training was interrupted."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from bundle.errors import UserError

# names of a group of parameters that torch's schedules change as they go; asked for in files that do not say how a training began
_MOVED = ("lr", "initial_lr", "momentum", "betas", "max_lr", "min_lr", "base_momentum", "max_momentum")
# names of a schedule's progress that such files were told from settings by
_PROGRESS = ("last_epoch", "_step_count", "_last_lr", "_initial_step", "_get_lr_called_within_step", "_is_initial")


class ScheduleStart:
    """What optimizer and schedule were before the first step: by it, a later run sees what the user has changed since.

    A schedule's state has settings and progress side by side, and each kind of schedule has its own names for both (`T_cur`, `best`,
    states of schedules within it). So settings are compared at the start, where nothing has progressed:

    - The start is the same: the whole state is loaded.
    - It is another one: the schedule of this run takes as many steps as were taken, and is where it would be had it been there from
      the beginning. One that needs a score for each step (`ReduceLROnPlateau`) is refused.

    Likewise a number of the optimizer (weight decay, momentum) that began as it begins now goes on as it was last, and another one
    has the value of this run.

    Args:
        optimizer, lr_scheduler: as they are before the first step; `lr_scheduler` may be None.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, lr_scheduler: Any = None) -> None:
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        groups = optimizer.param_groups
        self.groups = [{name: value for name, value in group.items() if name != "params" and _is_plain(value)} for group in groups]
        self.schedule: dict[str, Any] | None = None
        if lr_scheduler is not None:
            rates = [group.get("lr") for group in self.groups]
            self.schedule = {"class": type(lr_scheduler).__name__, "lr": rates, "state": plain(lr_scheduler.state_dict())}
        self.logger = logging.getLogger(__name__)

    def state_dict(self) -> dict[str, Any]:
        """The start, as numbers, strings, lists and dictionaries."""
        return {"optimizer": plain(self.groups), "lr_scheduler": self.schedule}

    def restore(self, start: Mapping[str, Any] | None, saved: dict[str, Any] | None, path: Path) -> None:
        """Let schedule and numbers go on; the optimizer has been loaded already.

        Args:
            start: the start of the interrupted training; None where its file does not say.
            saved: the schedule's plain state of when it was interrupted; None where it had no schedule.
            path: the file, for messages.

        Raises:
            UserError: the schedule follows scores, and has other settings than before.
        """
        self._restore_numbers(start)
        if self.schedule is None or saved is None:
            return
        before = (start or {}).get("lr_scheduler")
        if before is None:
            state = self.schedule["state"]
            same = all(state.get(name) == saved.get(name) for name in {*state, *saved} - {*_PROGRESS})
        else:
            same = before == self.schedule
        if same:
            self.lr_scheduler.load_state_dict(_laid_over(self.lr_scheduler.state_dict(), saved))
        else:
            self._restore_changed(before, saved, path)

    def _restore_numbers(self, start: Mapping[str, Any] | None) -> None:
        """Give the optimizer this run's value of what has been changed between the runs."""
        # where the file does not say how the training began, nothing but a schedule can have changed a number since
        began = start["optimizer"] if start else [{**group, **{name: now.get(name) for name in _MOVED}} for group, now in self._pairs()]
        for (group, now), before in zip(self._pairs(), began, strict=True):
            group.update({name: value for name, value in now.items() if name not in before or plain(before[name]) != plain(value)})

    def _pairs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each group of the optimizer's parameters, and its numbers at the start of this run."""
        return zip(self.optimizer.param_groups, self.groups, strict=True)

    def _restore_changed(self, before: dict[str, Any] | None, saved: dict[str, Any], path: Path) -> None:
        """Take the steps again with the settings of this run; refuse where they need more than their number."""
        assert self.schedule is not None
        steps, begin = _steps(saved), _steps(self.schedule["state"])
        if steps is None or begin is None or _needs_scores(self.lr_scheduler):
            if before is not None:
                problem = (
                    f"its learning rate followed what was learnt, and cannot go on with another schedule: {_told(before, self.schedule)}"
                )
                fix = "resume with the former values, or train into another --output_dir (finetune.json starts from these weights)"
                raise UserError(path, problem, fix)
            self.logger.warning(f"{path} was written by an earlier version: the schedule's best score and its patience start again")
            self.lr_scheduler.last_epoch = saved.get("last_epoch", 0)
            return
        for group, now in self._pairs():
            group.update(now)
        self.lr_scheduler.load_state_dict(_laid_over(self.lr_scheduler.state_dict(), self.schedule["state"]))
        with warnings.catch_warnings():
            # torch wants a step of the optimizer before each of the schedule
            warnings.simplefilter("ignore")
            try:
                for _ in range(steps - begin):
                    self.lr_scheduler.step()
            except ValueError as error:  # such as of OneCycleLR, which ends
                fix = "give it as many steps as were taken and more, or train into another --output_dir"
                raise UserError(path, f"{steps} steps of the schedule were taken, and this one ends before ({error})", fix) from error
        if before is not None:
            self.logger.info(f"the schedule goes on with other settings: {_told(before, self.schedule)}")


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dictionaries of those; other things, such as functions, are left out."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items() if _is_plain(entry)}
    return [plain(entry) for entry in value if _is_plain(entry)] if isinstance(value, (list, tuple)) else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, list, tuple, dict))


def _laid_over(state: Any, saved: Any) -> Any:
    """`state` with the values of a plain copy of such a state: what is not plain, or has not changed, keeps its own type."""
    if plain(state) == saved:
        return state
    if isinstance(state, dict) and isinstance(saved, dict):
        return {**state, **{name: _laid_over(state.get(name), value) for name, value in saved.items()}}
    if isinstance(state, list) and isinstance(saved, list) and len(state) == len(saved):
        return [_laid_over(*pair) for pair in zip(state, saved, strict=True)]
    return saved


def _steps(state: Mapping[str, Any]) -> int | None:
    """How many steps a schedule has taken; of one that has no count, the first of those within it. None where there is no count."""
    within = state.get("_schedulers") or [{}]
    steps = state.get("last_epoch", within[0].get("last_epoch"))
    return None if steps is None else int(steps)


def _needs_scores(scheduler: Any) -> bool:
    """Whether a step of the schedule, or of one within it, needs more than to be taken."""
    parameters = inspect.signature(scheduler.step).parameters.values()
    wanted = any(item.default is item.empty and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD) for item in parameters)
    return wanted or any(_needs_scores(part) for part in getattr(scheduler, "_schedulers", ()))


def _told(before: dict[str, Any], now: dict[str, Any]) -> str:
    """In words, in what two starts differ."""
    if before["class"] != now["class"]:
        return f"it was {before['class']}, is {now['class']} now"
    return "; ".join(_changes({"lr": before["lr"], **before["state"]}, {"lr": now["lr"], **now["state"]}))


def _changes(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Each value in nested dictionaries and lists that is another one now."""
    if isinstance(before, dict) and isinstance(now, dict):
        # learning rates are said once, as `lr`
        for key in (key for key in {**before, **now} if key not in ("_last_lr", "base_lrs")):
            yield from _changes(before.get(key), now.get(key), f"{name}.{str(key).lstrip('_')}".lstrip("."))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now) and any(isinstance(part, dict) for part in now):
        for number, pair in enumerate(zip(before, now, strict=True)):
            yield from _changes(*pair, f"{name}.{number}")
    elif before != now:
        yield f"{name} was {before}, is {now} now"
