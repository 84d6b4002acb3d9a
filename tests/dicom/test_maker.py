"""What all objects have in common: who made them, UIDs that stay, the source's values as they are."""

from __future__ import annotations

from pathlib import Path

import dicom_files
import dicom_objects as made
import pydicom
import pytest

from bundle.dicom.maker import Maker, impossible, making, tracking_uid, unchecked_values
from bundle.errors import UserError


def test_the_version_names_the_weights_where_they_are_known() -> None:
    assert Maker("0.1.0", "0123").version == "0.1.0, weights 0123" and Maker("0.1.0").version == "0.1.0"


def test_a_structure_of_a_series_has_one_uid_whenever_it_is_segmented(tmp_path: Path) -> None:
    sources = []
    for uid in ("1.2.3", "1.2.9"):
        files = dicom_files.series(tmp_path / uid, uid=uid)
        sources += [made.source_of(files, made.tiny_labels())[0] for _ in range(2)]
    (_, left), (_, tumour) = made.NAMED
    found = [tracking_uid(source, left) for source in sources]
    assert found[0] == found[1] and found[2] == found[3] != found[0] and found[0] != tracking_uid(sources[0], tumour)
    assert pydicom.uid.UID(found[0]).is_valid


def test_values_are_checked_again_after_the_block_even_if_it_fails() -> None:
    settings = pydicom.config.settings
    before = settings.reading_validation_mode, settings.writing_validation_mode
    with pytest.raises(KeyError), unchecked_values():
        assert settings.writing_validation_mode == settings.reading_validation_mode == pydicom.config.IGNORE
        raise KeyError
    assert (settings.reading_validation_mode, settings.writing_validation_mode) == before != (pydicom.config.IGNORE,) * 2


def test_what_cannot_be_made_is_one_line_with_the_key_to_leave_out(tmp_path: Path) -> None:
    source, _ = made.source_of(dicom_files.series(tmp_path), made.tiny_labels())
    said = str(impossible(source, "RTSTRUCT", "rtstruct", ValueError("no\n  frame")))
    assert said == f"{tmp_path}: no RTSTRUCT can be made of this series (no frame). Fix: run it without --rtstruct, or repair its headers."
    assert "(KeyError)" in str(impossible(source, "RTSTRUCT", "rtstruct", KeyError()))


def test_what_fails_while_an_object_is_made_is_an_error_of_the_series(tmp_path: Path) -> None:
    source, _ = made.source_of(dicom_files.series(tmp_path), made.tiny_labels())
    before = pydicom.config.settings.writing_validation_mode
    for error in (IndexError("x"), UserError("a", "b")):
        with pytest.raises(UserError, match="no DICOM SEG can be made of this series"), making(source, "DICOM SEG", "dicom_seg"):
            assert pydicom.config.settings.writing_validation_mode == pydicom.config.IGNORE
            raise error
    with pytest.raises(ZeroDivisionError), making(source, "DICOM SEG", "dicom_seg"):
        raise ZeroDivisionError  # of ours, not of the series
    assert pydicom.config.settings.writing_validation_mode == before
