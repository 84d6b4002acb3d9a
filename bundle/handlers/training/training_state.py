"""Everything that a killed training needs to go on, in one file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from bundle.distributed import unwrapped
from bundle.errors import UserError
from bundle.files import keep_before
from bundle.handlers.training.schedule import ScheduleStart, plain
from bundle.networks.weights import read_checkpoint, refuse_not_finite, state_dict_of, write_checkpoint
from bundle.results.identity import stamp


class TrainingState:
    """Saves the state of the training after each epoch, and resumes from it when `resume` says so.

    In the file: weights, optimiser, learning-rate schedule, epoch, loss scale, and the best metric with its epoch. Random
    states need no place in it: `bundle.handlers.EpochSeed` makes them a function of the epoch. The file holds tensors,
    numbers and strings only (`weights_only=True`), and is replaced only by a whole one. It also is the "last checkpoint". That of an
    earlier training, which is not resumed, is kept under a free name (`last_before.pt`) when the first epoch of this one has ended.

    MONAI's `CheckpointLoader` with a `CheckpointSaver` lacks the evaluator's best metric, the loss scale, and safety
    from being killed; it also puts back the old run's settings of schedule and optimizer, where here those of the config apply: a longer
    `max_epochs`, another step or weight decay continues with the new values (`bundle.handlers.training.schedule`). Make it before the
    first step, and attach it last, after schedule and validation.

    Args:
        path: the file.
        network, optimizer, lr_scheduler: what is trained. A network wrapped for several GPUs is saved without its wrapper.
        evaluator: engine whose best metric is kept.
        saver: `bundle.handlers.CheckpointSaver` of the best weights.
        settings: what the weights were learnt with and cannot be resumed without, by name: labels, spacing, HU range.
        resume: go on from `path`. Without a file there the training begins at the beginning, so that one command serves
            before and after a kill.
        interval: epochs between saves; the last epoch is always saved.

    Raises:
        UserError: the file cannot be read, is of another network or other settings, or its weights are not finite; a schedule that
            follows scores has other settings than before; it is not the same file for all processes.
    """

    def __init__(
        self,
        path: str,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        lr_scheduler: Any = None,
        evaluator: Engine | None = None,
        saver: Any = None,
        *,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        interval: int = 1,
    ) -> None:
        self.path, self.resume, self.interval = Path(path), resume, max(int(interval), 1)
        self.network = unwrapped(network)
        self.optimizer, self.lr_scheduler, self.evaluator, self.saver = optimizer, lr_scheduler, evaluator, saver
        # whether this object has written the file, and the stamp of the one that was there before
        self._own = False
        self._earlier: str | None = None
        self.start = ScheduleStart(optimizer, lr_scheduler)
        self.settings = json.loads(json.dumps(dict(settings or {}), default=str))
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """Restore when the engine starts, save when an epoch is complete."""
        engine.add_event_handler(Events.STARTED, self.restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of the engine's last whole epoch."""
        epochs = engine.state.max_epochs
        assert epochs is not None, "MONAI's trainers have a number of epochs"
        if idist.get_rank() != 0 or (engine.state.epoch % self.interval and engine.state.epoch < epochs):
            return
        state = {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": int(engine.state.epoch),
            "iteration": int(engine.state.iteration),
            "max_epochs": int(epochs),
            "settings": self.settings,
            "start": self.start.state_dict(),
        }
        if self.lr_scheduler is not None:
            state["lr_scheduler"] = plain(self.lr_scheduler.state_dict())
        if self.evaluator is not None:
            best: Any = self.evaluator.state  # to which MONAI adds the best metric
            state["best"] = {"metric": float(best.best_metric), "epoch": int(best.best_metric_epoch)}
        if self.saver is not None:
            state["saver"] = self.saver.state_dict()
        scaler = getattr(engine, "scaler", None)
        if scaler is not None:
            state["scaler"] = scaler.state_dict()
        refuse_not_finite(state["model"], self.path)
        if self._earlier is not None and self._earlier == stamp([str(self.path)]):
            # of an earlier training: it was there when this one began, and no other one has written since
            keep_before(self.path)
        self._earlier = None
        write_checkpoint(state, self.path)
        self._own = True

    def restore(self, engine: Engine) -> None:
        """Put the saved state back, where `resume` is set and there is one."""
        if not self.resume:
            if idist.get_rank() == 0 and self.path.is_file() and not self._own:
                self._earlier = stamp([str(self.path)])
                name = f"{self.path.stem}_before{self.path.suffix}"
                self.logger.warning(f"{self.path} is of an earlier training and will be kept as {name}; --resume True goes on with it")
            return
        state = read_checkpoint(self.path) if self.path.is_file() else None
        if state is not None and (not isinstance(state, dict) or not {"model", "optimizer", "epoch"} <= state.keys()):
            raise UserError(self.path, "holds no state of a training", "give the last.pt of a training, or start with --resume False")
        self._refuse_to_part(0 if state is None else int(state["epoch"]))
        if state is None:
            self.logger.info(f"nothing to resume at {self.path}: starting at the first epoch")
            return
        refuse_not_finite({**state_dict_of(state["model"], self.path), **_tensors(state["optimizer"], "optimizer")}, self.path)
        self._refuse_other_settings(state.get("settings"))
        try:
            self.network.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            fix = "start with resume=false, or with the network and labels that the file was made with"
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(self.path, f"the state is of another network ({reason})", fix) from error
        engine.state.epoch = state["epoch"]
        # the data set may have grown: whole epochs count, in units of the epoch's length of now
        engine.state.iteration = state["epoch"] * engine.state.epoch_length
        self.start.restore(state.get("start"), state.get("lr_scheduler"), self.path)
        if self.evaluator is not None and "best" in state:
            best: Any = self.evaluator.state
            best.best_metric, best.best_metric_epoch = state["best"]["metric"], state["best"]["epoch"]
        if self.saver is not None and state.get("saver", {}).get("_saved"):
            self.saver.load_state_dict(state["saver"])
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and "scaler" in state:
            scaler.load_state_dict(state["scaler"])
        self.logger.info(f"resumed from {self.path}: {state['epoch']} of {engine.state.max_epochs} epochs are done")

    def _refuse_to_part(self, done: int) -> None:
        """Refuse where the processes of a training read different states: each would go on with weights of its own."""
        everywhere: Any = idist.all_gather(done) if idist.get_world_size() > 1 else [done]
        if len(set(everywhere)) > 1:
            problem = f"is not the same for all processes: they have done {', '.join(map(str, sorted(set(everywhere))))} epochs by it"
            raise UserError(self.path, problem, "give an --output_dir that all machines share")

    def _refuse_other_settings(self, saved: Any) -> None:
        """Refuse a state whose settings differ; one of before settings were kept says nothing."""
        if not isinstance(saved, dict):
            return
        changed = [name for name in self.settings if name in saved and not _same_setting(saved[name], self.settings[name])]
        if changed:
            changes = "; ".join(f"{name} was {saved[name]}, is {self.settings[name]} now" for name in changed)
            fix = "resume with the former values, or train into another --output_dir (finetune.json starts from weights of other labels)"
            raise UserError(self.path, f"is the state of a training with other settings: {changes}", fix)


def _tensors(value: Any, name: str) -> dict[str, torch.Tensor]:
    """The tensors in dictionaries of dictionaries, by the path to them."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    parts = value.items() if isinstance(value, dict) else ()
    return {path: tensor for key, part in parts for path, tensor in _tensors(part, f"{name}.{key}").items()}


def _same_setting(one: Any, other: Any) -> bool:
    """Whether two settings are equal; of labels the order counts too, which is that of the network's channels."""
    return one == other and (not isinstance(one, dict) or list(one) == list(other))
