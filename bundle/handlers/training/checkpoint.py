"""Best weights on disk: replaced only by a whole file, and never at the cost of weights that another training left there."""

from __future__ import annotations

import filecmp
import logging
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
from bundle.files import numbered, written_aside
from bundle.networks.weights import digest, refuse_not_finite, state_dict_of, weights_digest, write_checkpoint


class CheckpointSaver(MonaiCheckpointSaver):
    """MONAI's `CheckpointSaver`, safe to kill at any moment.

    MONAI's writes in place, and deletes the old best file before it writes the new one: a kill in between leaves a part of
    a file, or none. Here files are written to another name in the same folder and renamed. After a resume (`bundle.handlers.TrainingState`
    restores it) the best score so far still has to be beaten. All arguments are MONAI's, and one more:

    Args:
        keep_original: with `key_metric_filename`, a name under which a file of other weights than this training's is kept next to it,
            before it is replaced. Where the name is taken it gets a number: `before.pt`, `before_2.pt`, `before_3.pt`. What is kept
            under one of them already is kept once. None keeps nothing.

    Raises:
        UserError: in `save_best`, where the best weights have no fixed name.
    """

    def __init__(self, save_dir: str, save_dict: dict, *, keep_original: str | None = None, **kwargs: Any) -> None:
        # made here because ignite's own way fails when two processes make it at once
        os.makedirs(save_dir, exist_ok=True)
        super().__init__(save_dir, save_dict, **kwargs)
        fixed = {"_final_checkpoint": kwargs.get("final_filename"), "_key_metric_checkpoint": kwargs.get("key_metric_filename")}
        for name in ("_final_checkpoint", "_key_metric_checkpoint", "_interval_checkpoint"):
            if getattr(self, name) is not None:
                keep = keep_original if name == "_key_metric_checkpoint" else None
                getattr(self, name).save_handler = AtomicDiskSaver(save_dir, filename=fixed.get(name), keep=keep)

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

    def state_dict(self) -> dict[str, Any]:
        """Scores and files of the best checkpoints so far, and the digest of the weights last written, as plain numbers and strings."""
        saved = self._key_metric_checkpoint._saved if self._key_metric_checkpoint else []
        handler = self._best_handler()
        written = None if handler is None else handler.written
        return {"_saved": [(float(item.priority), str(item.filename)) for item in saved], "written": written}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on after a resume; where the state does not say what was written last (before version 0.2.0), it is what is there."""
        super().load_state_dict(state_dict)
        handler = self._best_handler()
        if handler is not None and handler.filename is not None:
            path = handler.dirname / handler.filename
            there = weights_digest(path)
            handler.written = state_dict.get("written") or there
            if there != handler.written and idist.get_rank() == 0:
                problem = (
                    "does not hold the best weights of this training, which it wrote to another --ckpt_dir, or which were replaced since"
                )
                self.logger.warning(f"{path} {problem}: the next ones are written there once a validation is better than all before")


class AtomicDiskSaver(BaseSaveHandler):
    """Ignite save handler that writes to another name and renames; rank 0 alone writes.

    Ignite's own atomic `DiskSaver` leaves a random name behind when it is killed, and MONAI does not let one choose it.

    Args:
        dirname: folder, made on the first write.
        filename: fixed name for every checkpoint; None takes the name that the checkpoint handler makes up.
        keep: with `filename`, name under which weights of others are kept before they are replaced (`CheckpointSaver`); None keeps nothing.
    """

    def __init__(self, dirname: str | os.PathLike, filename: str | None = None, keep: str | None = None) -> None:
        self.dirname, self.filename, self.keep = Path(dirname), filename, keep
        self.written: str | None = None
        """Digest of the weights that this training has put in the file last; None before."""

    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        if idist.get_rank() != 0:
            return
        path = self.dirname / (self.filename or filename)
        _refuse_not_finite(checkpoint, path)
        if self.filename and self.keep:
            self._keep_others(path, checkpoint)
        write_checkpoint(checkpoint, path)
        if self.filename and self.keep:
            self.written = weights_digest(path)

    def _keep_others(self, path: Path, checkpoint: Mapping) -> None:
        """Copy what is there to a free name, unless this training wrote it, it has the same weights as `checkpoint`, or is kept already."""
        there = weights_digest(path)
        if there is None or there in (self.written, _digest(checkpoint, path)):
            return
        assert self.keep is not None
        for kept in numbered(self.dirname / self.keep):
            if not kept.exists():
                with written_aside(kept) as aside:
                    shutil.copy2(path, aside)
                logging.getLogger(__name__).info(f"{path} was there before: kept as {kept}")
                return
            if filecmp.cmp(path, kept, shallow=False):
                return

    def remove(self, filename: str) -> None:
        """Delete an outdated checkpoint; one with a fixed name is about to be replaced, so it stays until then."""
        if self.filename is None and idist.get_rank() == 0:
            (self.dirname / filename).unlink(missing_ok=True)


def _refuse_not_finite(checkpoint: Mapping, path: Path) -> None:
    """Refuse to put weights that are not finite in the place of others: a state dict, or several by name."""
    parts = [part for part in checkpoint.values() if isinstance(part, Mapping)]
    for part in (checkpoint, *parts):
        refuse_not_finite({name: value for name, value in part.items() if isinstance(value, Tensor)}, path)


def _digest(checkpoint: Mapping, path: Path) -> str | None:
    """Digest of the weights in a checkpoint; None where it holds something else."""
    try:
        return digest(state_dict_of(checkpoint, path))
    except UserError:
        return None
