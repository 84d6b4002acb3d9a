"""What an engine writes while it runs: tables, previews, progress, checkpoints; and what makes a run repeatable."""

from bundle.handlers.training.batch_norms import BatchNorms
from bundle.handlers.training.cache_ahead import CacheAhead
from bundle.handlers.training.checkpoint import CheckpointSaver
from bundle.handlers.training.confusion_table import ConfusionTable
from bundle.handlers.training.epoch_seed import EpochSeed
from bundle.handlers.training.epoch_table import EpochTable, dice_names
from bundle.handlers.training.finite import FiniteNumbers
from bundle.handlers.training.freed_memory import FreedMemory
from bundle.handlers.training.growing_data import GrowingData
from bundle.handlers.training.previews import ValidationPreviews
from bundle.handlers.training.progress import Progress
from bundle.handlers.training.save_unvalidated import SaveUnvalidated
from bundle.handlers.training.training_lock import TrainingLock
from bundle.handlers.training.training_state import TrainingState
from bundle.handlers.training.validation import ValidationHandler

__all__ = [
    "BatchNorms",
    "CacheAhead",
    "CheckpointSaver",
    "ConfusionTable",
    "EpochSeed",
    "EpochTable",
    "FiniteNumbers",
    "FreedMemory",
    "GrowingData",
    "Progress",
    "SaveUnvalidated",
    "TrainingLock",
    "TrainingState",
    "ValidationHandler",
    "ValidationPreviews",
    "dice_names",
]
