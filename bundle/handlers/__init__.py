"""What an engine writes while it runs: tables, previews, progress, checkpoints; and what makes a run repeatable."""

from bundle.handlers.checkpoint import CheckpointSaver
from bundle.handlers.epoch_seed import EpochSeed
from bundle.handlers.epoch_table import EpochTable, dice_names
from bundle.handlers.finite import FiniteNumbers
from bundle.handlers.growing_data import GrowingData
from bundle.handlers.previews import ValidationPreviews
from bundle.handlers.progress import Progress
from bundle.handlers.save_unvalidated import SaveUnvalidated
from bundle.handlers.training_lock import TrainingLock
from bundle.handlers.training_state import TrainingState
from bundle.handlers.validation import ValidationHandler

__all__ = [
    "CheckpointSaver",
    "EpochSeed",
    "EpochTable",
    "FiniteNumbers",
    "GrowingData",
    "Progress",
    "SaveUnvalidated",
    "TrainingLock",
    "TrainingState",
    "ValidationHandler",
    "ValidationPreviews",
    "dice_names",
]
