"""Best weights on disk: replaced only by a whole file, and never at the cost of what was there before the training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.handlers.checkpoint import BaseSaveHandler
from monai.handlers import CheckpointSaver as MonaiCheckpointSaver
from torch import Tensor

from bundle.errors import UserError
from bundle.files import written_aside
from bundle.networks.weights import refuse_not_finite, write_checkpoint


class CheckpointSaver(MonaiCheckpointSaver):
    """MONAI's `CheckpointSaver`, safe to kill at any moment.

    MONAI's writes in place, and deletes the old best file before it writes the new one: a kill in between leaves a part of
    a file, or none. Here files are written to another name in the same folder and renamed. After a resume (`bundle.handlers.TrainingState`
    restores it) the best score so far still has to be beaten. All arguments are MONAI's, and one more:

    Args:
        keep_original: with `key_metric_filename`, a name under which the file from before this training is kept
            next to it; an existing one of that name stays. None keeps nothing.

    Raises:
        UserError: in `save_best`, where the best weights have no fixed name.
    """

    def __init__(self, save_dir: str, save_dict: dict, *, keep_original: str | None = None, **kwargs: Any) -> None:
        # made here because ignite's own way fails when two processes make it at once
        os.makedirs(save_dir, exist_ok=True)
        super().__init__(save_dir, save_dict, **kwargs)
        self.keep_original = keep_original
        fixed = {"_final_checkpoint": kwargs.get("final_filename"), "_key_metric_checkpoint": kwargs.get("key_metric_filename")}
        for name in ("_final_checkpoint", "_key_metric_checkpoint", "_interval_checkpoint"):
            if getattr(self, name) is not None:
                getattr(self, name).save_handler = AtomicDiskSaver(save_dir, filename=fixed.get(name))

    def metrics_completed(self, engine: Any) -> None:
        """As MONAI's; before the first best file of a training, the one that is there is set aside."""
        if self._key_metric_checkpoint is not None and not self._key_metric_checkpoint._saved:
            self.keep_what_was_there()
        super().metrics_completed(engine)

    def keep_what_was_there(self) -> None:
        """Copy the best file from before this training under another name, unless the name for the copy is taken or None."""
        handler = self._best_handler()
        if handler is None or handler.filename is None or not self.keep_original or idist.get_rank() != 0:
            return
        best = Path(self.save_dir) / handler.filename
        if not best.is_file():
            return
        kept = best.with_name(self.keep_original)
        if not kept.exists():
            with written_aside(kept) as aside:
                shutil.copy2(best, aside)
            self.logger.info(f"{best} was there before: kept as {kept}")

    def save_best(self, content: Mapping) -> None:
        """Write `content` where the best weights are."""
        handler = self._best_handler()
        if handler is None or handler.filename is None:
            problem = "the best weights have no name of their own, by which the last ones could be saved in their place"
            raise UserError("CheckpointSaver", problem, "give it save_key_metric true and a key_metric_filename")
        handler(content, handler.filename)

    def _best_handler(self) -> AtomicDiskSaver | None:
        """What writes the best weights; None where none are saved."""
        handler = self._key_metric_checkpoint.save_handler if self._key_metric_checkpoint is not None else None
        assert handler is None or isinstance(handler, AtomicDiskSaver)
        return handler

    def state_dict(self) -> dict[str, list]:
        """Scores and files of the best checkpoints so far, as plain numbers and strings."""
        saved = self._key_metric_checkpoint._saved if self._key_metric_checkpoint else []
        return {"_saved": [(float(item.priority), str(item.filename)) for item in saved]}


class AtomicDiskSaver(BaseSaveHandler):
    """Ignite save handler that writes to another name and renames; rank 0 alone writes.

    Ignite's own atomic `DiskSaver` leaves a random name behind when it is killed, and MONAI does not let one choose it.

    Args:
        dirname: folder, made on the first write.
        filename: fixed name for every checkpoint; None takes the name that the checkpoint handler makes up.
    """

    def __init__(self, dirname: str | os.PathLike, filename: str | None = None) -> None:
        self.dirname, self.filename = Path(dirname), filename

    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        if idist.get_rank() == 0:
            _refuse_not_finite(checkpoint, self.dirname / (self.filename or filename))
            write_checkpoint(checkpoint, self.dirname / (self.filename or filename))

    def remove(self, filename: str) -> None:
        """Delete an outdated checkpoint; one with a fixed name is about to be replaced, so it stays until then."""
        if self.filename is None and idist.get_rank() == 0:
            (self.dirname / filename).unlink(missing_ok=True)


def _refuse_not_finite(checkpoint: Mapping, path: Path) -> None:
    """Refuse to put weights that are not finite in the place of others: a state dict, or several by name."""
    parts = [part for part in checkpoint.values() if isinstance(part, Mapping)]
    for part in (checkpoint, *parts):
        refuse_not_finite({name: value for name, value in part.items() if isinstance(value, Tensor)}, path)
