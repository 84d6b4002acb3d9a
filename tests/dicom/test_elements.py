"""Bytes of single elements as text and numbers, and what counts as DICOM at all."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import dicom_files
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bundle.dicom.elements import DEFLATED, Elements, looks_like_dicom, opened, time_zone


def elements(**values: object) -> Elements:
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return Elements(ds)


def stored(tag: int, value: bytes, little: bool = True) -> Elements:
    """One element as it is in a file."""
    ds = Dataset()
    ds[tag] = RawDataElement(Tag(tag), "UN", len(value), value, 0, False, little)
    return Elements(ds)


def test_text_is_printable_and_split_at_backslashes() -> None:
    found = elements(SeriesDescription="liver \n\x1b[31m ", ImageType=["ORIGINAL", "PRIMARY"])
    assert found.text("SeriesDescription") == "liver ??[31m " and found.text("Modality") == ""
    assert stored(0x0008103E, b"M\xfcller \0").text("SeriesDescription") == "Müller"
    assert stored(0x0008103E, b" A \\B").texts("SeriesDescription") == ["A", "B"]


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [
        (b"2\\1.5 ", 2, (2.0, 1.5)),
        (b" -1.25e1 ", 1, (-12.5,)),
        (b"", 2, None),
        (b"2", 2, "PixelSpacing is '2', not 2 numbers"),
        (b"2 mm", 1, "PixelSpacing is '2 mm', not a number"),
        (b"nan", 1, "PixelSpacing is 'nan', not a number"),
        (b"1e999", 1, "PixelSpacing is '1e999', not a number"),
    ],
)
def test_decimal_numbers(value: bytes, count: int, expected: object) -> None:
    found = stored(0x00280030, value)
    if not isinstance(expected, str):
        assert found.numbers("PixelSpacing", count) == expected
        return
    with pytest.raises(ValueError) as caught:
        found.numbers("PixelSpacing", count)
    assert str(caught.value) == expected


def test_whole_numbers_of_two_bytes_in_either_order() -> None:
    found = elements(Rows=300)
    assert found.whole("Rows") == 300 and found.whole("HighBit", 11) == 11
    with pytest.raises(ValueError, match="Columns is missing"):
        found.whole("Columns")
    assert stored(0x00280010, b"\x01\x02").whole("Rows") == 0x0201
    assert stored(0x00280010, b"\x01\x02", little=False).whole("Rows") == 0x0102
    with pytest.raises(ValueError, match="Rows is not one number of two bytes"):
        stored(0x00280010, b"\x01\x02\x03\x04").whole("Rows")


def test_items_of_a_sequence_and_what_is_there() -> None:
    item = Dataset()
    item.RescaleSlope = "2"
    found = elements(PixelValueTransformationSequence=[item])
    assert [one.text("RescaleSlope") for one in found.items("PixelValueTransformationSequence")] == ["2"]
    assert found.items("PixelMeasuresSequence") == [] and found.has("PixelValueTransformationSequence") and not found.has("Rows")


def test_dicom_is_known_by_its_letters_or_by_its_first_element(tmp_path: Path) -> None:
    contents = {
        "marked": (bytes(128) + b"DICM", True, True),
        "explicit": (b"\x08\x00\x05\x00CS\x0a\x00" + bytes(130), True, False),
        "implicit": (b"\x08\x00\x05\x00\x0a\x00\x00\x00" + bytes(130), True, False),
        "short": (b"\x08\x00\x05\x00CS", False, False),
        "group 3": (b"\x03\x00\x05\x00CS\x0a\x00" + bytes(130), False, False),
        "long first element": (b"\x08\x00\x05\x00\x0a\x00\x01\x00" + bytes(130), False, False),
    }
    for name, (content, expected, marked) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert (looks_like_dicom(tmp_path / name), looks_like_dicom(tmp_path / name, marked=True)) == (expected, marked), name
    os.mkfifo(tmp_path / "pipe")
    assert not looks_like_dicom(tmp_path / "pipe") and not looks_like_dicom(tmp_path / "nowhere")


def test_a_deflated_file_is_inflated_behind_its_meta_information_up_to_a_bound(tmp_path: Path) -> None:
    ds = dicom_files.ct_slice(0)
    plain = dicom_files.save(ds, tmp_path / "plain.dcm").read_bytes()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = dicom_files.save(ds, tmp_path / "deflated.dcm")
    packed = path.read_bytes()
    # the length of group 2 is in its first element, after the preamble
    start = 132 + 12 + int.from_bytes(packed[140:144], "little")
    with opened(str(path)) as (stream, most):
        content = stream.read()
    assert DEFLATED not in content and content[start:] == zlib.decompress(packed[start:], -15) and most >= len(content)
    assert content[start:] == plain[132 + 12 + int.from_bytes(plain[140:144], "little") :]
    with opened(str(path), 10) as (stream, _):
        assert len(stream.read()) == start + 10
    with opened(str(tmp_path / "plain.dcm")) as (stream, most):
        assert stream.read() == plain and most == len(plain)


def test_time_zones_and_what_is_none() -> None:
    found = {text: time_zone(text) for text in ("+0930", "-1100", "+0000", "", "+24", "+2400", "0100", "+01:00", "+0160")}
    hours = {text: None if zone is None else zone.utcoffset(None).total_seconds() / 3600 for text, zone in found.items()}
    assert hours == {"+0930": 9.5, "-1100": -11, "+0000": 0} | dict.fromkeys(("", "+24", "+2400", "0100", "+01:00", "+0160"))
