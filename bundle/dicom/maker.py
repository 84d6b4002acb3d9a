"""Who makes a DICOM object, and what all objects that are made here have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bundle.dicom.source import Source
from bundle.errors import UserError
from bundle.structures import Structure

MANUFACTURER = "attention-unet-bundle"
MODEL = "Attention U-Net"


@dataclass(frozen=True)
class Maker:
    """The version of the bundle, and the start of the digest of its weights (empty where that is not known)."""

    bundle: str
    weights: str = ""

    @property
    def version(self) -> str:
        """Both in one text, as DICOM's SoftwareVersions and AlgorithmVersion have it."""
        return f"{self.bundle}, weights {self.weights}" if self.weights else self.bundle


def tracking_uid(source: Source, structure: Structure) -> str:
    """A UID of this structure in this series: the same whenever the series is segmented again, so that results can be followed."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=["tracking", str(source.first.SeriesInstanceUID), structure.name])


@contextmanager
def unchecked_values() -> Iterator[None]:
    """Within the block, values of the source are taken as they are, also those that break the rules of their kind."""
    from pydicom import config

    reading, writing = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = reading, writing


@contextmanager
def making(source: Source, what: str, key: str) -> Iterator[None]:
    """Within the block an object is made: the source's values are taken as they are, and what fails is one error of the series.

    Args:
        source: the series.
        what: the kind of object, for the error.
        key: the key that asks for it, likewise.

    Raises:
        UserError: it cannot be made of this series.
    """
    with unchecked_values():
        try:
            yield
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            raise impossible(source, what, key, error) from error


def impossible(source: Source, what: str, key: str, error: Exception) -> UserError:
    """The error of a series of which an object cannot be made."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(source.where, f"no {what} can be made of this series ({reason})", f"run it without --{key}, or repair its headers")
